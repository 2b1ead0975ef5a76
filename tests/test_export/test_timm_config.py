"""Image size and class names in the config of timm."""

import pytest
from lfi.export.timm_config import add_data_facts, image_size
from mmengine.config import Config

CONFIG = dict(num_classes=2, pretrained_cfg=dict(input_size=[3, 224, 224]))


def loaders(*steps, train=(), **dataset):
    """A config with pipelines of test and training."""
    return Config(
        dict(
            train_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=list(train))),
            test_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=list(steps), **dataset)),
        )
    )


@pytest.mark.parametrize(
    ('steps', 'size'),
    [
        ([dict(type='ResizeEdge', scale=72), dict(type='CenterCrop', crop_size=64)], (64, 64)),
        ([dict(type='mmpretrain.Resize', scale=(96, 48))], (48, 96)),
        ([dict(type='lfi.RecordView', transforms=[dict(type='CenterCrop', crop_size=32)])], (32, 32)),
        # Images of several sizes have none.
        ([dict(type='Resize', scale=(1333, 800), keep_ratio=True)], None),
        ([dict(type='PackInputs')], None),
    ],
)
def test_the_size_of_the_images_is_that_of_the_test_pipeline(steps, size):
    assert image_size(loaders(*steps)) == size
    config = add_data_facts(CONFIG, loaders(*steps), {})
    assert config['pretrained_cfg']['input_size'] == [3, *(size or (224, 224))]


def test_without_a_step_in_the_test_the_training_says_the_size():
    crop = dict(type='RandomResizedCrop', scale=(40, 80), crop_ratio_range=(0.6, 1.0))
    assert image_size(loaders(dict(type='PackInputs'), train=[crop])) == (40, 80)


def test_a_vit_keeps_the_size_of_its_positions():
    config = dict(CONFIG, pretrained_cfg=dict(input_size=[3, 64, 64], fixed_input_size=True))
    crop = dict(type='CenterCrop', crop_size=32)
    assert add_data_facts(config, loaders(crop), {})['pretrained_cfg']['input_size'] == [3, 64, 64]


def test_class_names_come_from_the_checkpoint_or_the_config():
    named = loaders(metainfo=dict(classes=['barn', 'silo, tower']))
    assert add_data_facts(CONFIG, named, {})['label_names'] == ['barn', 'silo, tower']
    assert add_data_facts(CONFIG, named, dict(classes=('cat', 'dog')))['label_names'] == ['cat', 'dog']
    # A backbone has no classes.
    assert 'label_names' not in add_data_facts(dict(CONFIG, num_classes=0), named, {})
