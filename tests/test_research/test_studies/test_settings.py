"""What is tuned."""

from research.studies.arms import ARMS, Arm
from research.studies.settings import SETTINGS, WEIGHT, tuned


def arm(name):
    return Arm(name, 'configs/x.py', ARMS[name].options)


def test_each_way_to_distil_is_tuned_by_three_settings_or_more():
    ways = {name for name, variety in ARMS.items() if variety.of is None and variety.reads}
    assert SETTINGS.keys() == ways
    for settings in SETTINGS.values():
        assert len(settings) >= 3
        assert len({tuple(options.items()) for options in settings}) == len(settings)


def test_the_first_arm_is_kept_and_the_others_tried():
    arms = tuned([arm('task-loss'), arm('logit-kd')], {'logit-kd': [{WEIGHT: '1'}, {WEIGHT: '4'}]})
    assert [(found.name, found.options) for found in arms] == [
        ('task-loss', ()),
        ('logit-kd loss_weight 1', (f'{WEIGHT}=1',)),
        ('logit-kd loss_weight 4', (f'{WEIGHT}=4',)),
    ]
