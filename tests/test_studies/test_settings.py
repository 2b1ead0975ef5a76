"""What is tuned, and what the arms of a study get of it."""

from lfi.studies.arms import ARMS, Arm
from lfi.studies.settings import CHOSEN, SETTINGS, WEIGHT, tuned, with_chosen

LFI = {'model.interaction_loss.positions_weight': '2', 'model.interaction_loss.concepts_weight': '4'}
LFI_TYPED = ('model.interaction_loss.positions_weight=2', 'model.interaction_loss.concepts_weight=4')


def arm(name):
    return Arm(name, 'configs/x.py', ARMS[name].options)


def test_each_way_to_distil_is_tuned_by_three_settings_or_more():
    ways = {name for name, variety in ARMS.items() if variety.of is None and variety.reads}
    assert SETTINGS.keys() == ways
    for settings in SETTINGS.values():
        assert len(settings) >= 3
        assert len({tuple(options.items()) for options in settings}) == len(settings)


def test_what_was_chosen_with_few_labels_was_tried():
    for study in ('shapes-few', 'tiny-few'):
        for name, options in CHOSEN[study].items():
            assert options in SETTINGS[name], (study, name)


def test_the_first_arm_is_kept_and_the_others_tried():
    arms = tuned([arm('task-loss'), arm('logit-kd')], {'logit-kd': [{WEIGHT: '1'}, {WEIGHT: '4'}]})
    assert [(found.name, found.options) for found in arms] == [
        ('task-loss', ()),
        ('logit-kd loss_weight 1', (f'{WEIGHT}=1',)),
        ('logit-kd loss_weight 4', (f'{WEIGHT}=4',)),
    ]


def test_arms_without_a_choice_keep_their_configs_own():
    arms = tuple(arm(name) for name in ('task-loss', 'logit-kd', 'shuffled-images', 'lfi', 'lfi-logit-kd'))
    assert with_chosen(arms, {}) == arms


def test_what_changes_an_arm_has_the_settings_of_that_arm():
    chosen = {'lfi': LFI, 'logit-kd': {WEIGHT: '4'}, 'attention-transfer': {WEIGHT: '8'}}
    names = ('task-loss', 'logit-kd', 'shuffled-attention', 'shuffled-images', 'lfi', 'lfi-positions')
    found = {new.name: new.options for new in with_chosen([arm(name) for name in names], chosen)}
    assert found == {
        'task-loss': (),
        'logit-kd': (f'{WEIGHT}=4',),
        'shuffled-attention': (f'{WEIGHT}=8', *ARMS['shuffled-attention'].options),
        'shuffled-images': (*LFI_TYPED, *ARMS['shuffled-images'].options),
        'lfi': LFI_TYPED,
        # Without concepts all the same: the later option holds.
        'lfi-positions': (*LFI_TYPED, 'model.interaction_loss.concepts_weight=0'),
    }


def test_lfi_with_logit_kd_has_the_settings_of_both():
    (both,) = with_chosen([arm('lfi-logit-kd')], {'lfi': LFI, 'logit-kd': {WEIGHT: '4'}})
    assert both.options == (*LFI_TYPED, 'model.logit_kd.loss_weight=1', 'model.logit_kd.loss_weight=4')
    own = {'lfi-logit-kd': {'model.logit_kd.loss_weight': '2'}, 'logit-kd': {WEIGHT: '4'}}
    (both,) = with_chosen([arm('lfi-logit-kd')], own)
    assert both.options[-1] == 'model.logit_kd.loss_weight=2'
