"""Types, data sets and models in the configs of runs."""

import pytest
from lfi.utils.config_types import configs_in, dataset_configs, leaf_configs, model_config, type_name
from mmengine.config import Config, ConfigDict


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
    assert list(leaf_configs(one)) == [one]
    assert list(leaf_configs(ConfigDict(joined))) == [one, two]
    assert list(leaf_configs([joined, three])) == [one, two, three]
    assert list(leaf_configs(None)) == []
    # They can be changed in place.
    next(leaf_configs(joined))['pipeline'] = []
    assert one['pipeline'] == []


def test_data_sets_come_outermost_first():
    one, two = (dict(type='CocoDataset', data_root=name) for name in 'ab')
    wrapped = dict(type='RepeatDataset', dataset=one)
    joined = dict(type='ConcatDataset', datasets=[wrapped, two])
    assert (
        list(dataset_configs(joined))
        == list(dataset_configs(ConfigDict(joined)))
        == [joined, wrapped, one, two]
    )
    assert list(dataset_configs([two, wrapped])) == [two, wrapped, one]
    assert list(dataset_configs(None)) == []


def test_data_sets_that_are_not_looked_into_count_as_one():
    one, two = (dict(type='CocoDataset', data_root=name) for name in 'ab')
    wrapped = dict(type='RepeatDataset', dataset=one)
    joined = dict(type='ConcatDataset', datasets=[wrapped, two])

    def repeats(dataset):
        return type_name(dataset) == 'RepeatDataset'

    assert list(dataset_configs(joined, stop_at=repeats)) == [joined, wrapped, two]
    assert list(leaf_configs(joined, stop_at=repeats)) == [wrapped, two]


def test_configs_are_found_at_any_depth():
    inner = dict(type='Resize')
    outer = dict(type='RecordView', transforms=[inner, (dict(), 'text')], scale=2)
    assert list(configs_in(outer)) == [outer, inner, {}]
    assert list(configs_in([inner, None])) == [inner]
    assert list(configs_in('text')) == []


def test_a_model_is_completed_by_the_data_preprocessor_of_the_run():
    model, own, of_run = dict(type='Model'), dict(mean=[1]), dict(mean=[2])
    completed = {**model, 'data_preprocessor': of_run}
    assert model_config(Config(dict(model=model))) == model
    assert model_config(Config(dict(model=model, data_preprocessor=None))) == model
    assert model_config(Config(dict(model=model, data_preprocessor=of_run))) == completed
    kept = {**model, 'data_preprocessor': own}
    assert model_config(Config(dict(model=kept, data_preprocessor=of_run))) == kept
