"""Types and data sets in the configs of runs."""

import pytest
from lfi.config_types import leaves, type_name
from mmengine.config import ConfigDict


class Lazy:
    """Stands for a class of a lazy config."""


@pytest.mark.parametrize(
    ('config', 'name'),
    [
        (dict(type='Resize'), 'Resize'),
        (dict(type='mmdet.Resize'), 'Resize'),
        (dict(type='torchvision/Pad'), 'Pad'),
        (dict(type='mmpretrain.torchvision/Pad'), 'Pad'),
        (dict(type=Lazy), 'Lazy'),
        (dict(scale=2), ''),
        (dict(type=None), ''),
    ],
)
def test_the_name_of_a_type(config, name):
    assert type_name(config) == type_name(ConfigDict(config)) == name


def test_what_reads_images_is_found_inside_what_wraps_and_joins():
    one, two, three = (dict(type='CocoDataset', data_root=name) for name in 'abc')
    joined = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', dataset=one), two])
    assert list(leaves(one)) == [one]
    assert list(leaves(ConfigDict(joined))) == [one, two]
    assert list(leaves([joined, three])) == [one, two, three]
    assert list(leaves(None)) == []
    # They can be changed in place.
    next(leaves(joined))['pipeline'] = []
    assert one['pipeline'] == []
