"""What is tuned."""

from research.studies.arms import ARMS, Arm
from research.studies.settings import (
    SETTINGS,
    STUDENTS,
    tuning_arms,
    weight,
    with_settings,
    with_student_settings,
)

LOGIT_KD = 'model.supervision.logit_kd.loss_weight'


def arm(name):
    return Arm(name, 'configs/x.py', ARMS[name].options)


def test_a_way_to_distil_that_is_tuned_has_three_settings_or_more():
    ways = {name for name, arm in ARMS.items() if arm.kind in ('baseline', 'method') and arm.teacher_output}
    # A new one has its defaults until it is tuned.
    assert SETTINGS.keys() <= ways
    for settings in SETTINGS.values():
        assert len(settings) >= 3
        assert len({tuple(options.items()) for options in settings}) == len(settings)


def test_what_was_chosen_with_all_labels_was_tried():
    for student in ('vit-128x6-p8_shapes', 'vit-128x6-p8_lit-lite0_tiny-imagenet-20'):
        for name, options in STUDENTS[student].items():
            tried = [{key: float(value) for key, value in each.items()} for each in SETTINGS[name]]
            assert {key: float(options[key]) for key in tried[0]} in tried


def test_a_control_has_the_settings_of_its_baseline():
    option = 'model.supervision.affinity.loss_weight=8.0'
    for name in ('pairwise-affinity', 'mean-affinity'):
        assert with_student_settings(arm(name), 'vit-128x6-p8_shapes').options == (
            *ARMS[name].options,
            option,
        )
    for name in ('other-image', 'task-loss'):
        assert with_student_settings(arm(name), 'vit-128x6-p8_shapes') == arm(name)


def test_a_study_s_own_setting_stands_in_place_of_the_student_s():
    found = with_settings(
        with_student_settings(arm('logit-kd'), 'vit-128x6-p8_shapes'), {'logit-kd': weight('logit_kd', '4')}
    )
    assert [option for option in found.options if option.startswith(LOGIT_KD)] == [f'{LOGIT_KD}=4']


def test_the_first_arm_is_kept_and_the_others_tried():
    own = ARMS['logit-kd'].options
    tried = {'logit-kd': [weight('logit_kd', '1'), weight('logit_kd', '4')]}
    assert [
        (found.name, found.options) for found in tuning_arms([arm('task-loss'), arm('logit-kd')], tried)
    ] == [
        ('task-loss', ()),
        ('logit-kd loss_weight 1', (*own, f'{LOGIT_KD}=1')),
        ('logit-kd loss_weight 4', (*own, f'{LOGIT_KD}=4')),
    ]
