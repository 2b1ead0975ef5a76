"""Steps that part images from their cached maps are refused by name before training."""

import pytest
from lfi.datasets.transforms import refuse_unrecorded_steps
from lfi.errors import UsageError
from mmcv.transforms import BaseTransform, Resize
from mmengine.config import ConfigDict
from mmengine.registry import TRANSFORMS

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
READ = [dict(type='lfi.LoadInteractionMaps', cache='maps'), dict(type='PackDetInputs')]
RECORD = [dict(type='lfi.RecordView', transforms=[dict(type='RandomFlip', prob=0.5)])]


@TRANSFORMS.register_module()
class OfAProject(BaseTransform):
    """Nobody knows what it does."""

    def transform(self, results):
        return results


def refused(dataset, name, scope='mmdet'):
    with pytest.raises(UsageError, match=f'step {name} outside lfi.RecordView'):
        refuse_unrecorded_steps(ConfigDict(dataset), scope)


def dataset_of(*pipeline):
    return dict(type='CocoDataset', pipeline=[*LOAD, *pipeline])


@pytest.mark.parametrize('mixing', ['Mosaic', 'MixUp', 'CachedMosaic', 'CachedMixUp', 'CopyPaste'])
def test_what_mixes_images_around_the_data_set_is_refused(mixing):
    mixed = [dict(type=mixing), *RECORD, *READ]
    dataset = dict(type='mmdet.MultiImageMixDataset', dataset=dataset_of(), pipeline=mixed)
    refused(dataset, mixing)
    with pytest.raises(UsageError, match=f'Use lfi.Recorded{mixing}, which records what it mixes'):
        refuse_unrecorded_steps(ConfigDict(dataset), 'mmdet')
    mixed[0]['type'] = f'lfi.Recorded{mixing}'
    refuse_unrecorded_steps(ConfigDict(dataset), 'mmdet')


@pytest.mark.parametrize(
    ('step', 'name'),
    [
        (dict(type='RandomFlip', prob=1.0), 'RandomFlip'),
        (dict(type='RandomAffine'), 'RandomAffine'),
        (dict(type='mmdet.Pad', size=(64, 64)), 'Pad'),
        (dict(type=Resize, scale=(64, 64)), 'Resize'),
        (dict(type='torchvision/RandomCrop', size=4), 'RandomCrop'),
        (dict(_scope_='mmpretrain', type='RandAugment', policies='timm_increasing'), 'RandAugment'),
        (dict(_scope_='mmpretrain', type='AutoAugment', policies='imagenet'), 'AutoAugment'),
        (
            dict(type='RandomApply', transforms=[dict(type='YOLOXHSVRandomAug'), dict(type='Expand')]),
            'Expand',
        ),
        (
            dict(type='RandomChoice', transforms=[[dict(type='AutoContrast')], [dict(type='MixUp')]]),
            'MixUp',
        ),
        (dict(type='OfAProject'), 'OfAProject'),
        (dict(type='OfNobody'), 'OfNobody'),
    ],
)
def test_a_step_outside_that_moves_pixels_or_is_unknown_is_refused(step, name):
    refused(dataset_of(step, *RECORD, *READ), name)
    refused(dict(type='RepeatDataset', times=2, dataset=dataset_of(*RECORD, step, *READ)), name)
    refused(dict(type='ConcatDataset', datasets=[dataset_of(*RECORD, *READ), dataset_of(step, *READ)]), name)


def test_what_moves_nothing_may_stand_anywhere():
    colours = [
        dict(type='PhotoMetricDistortion'),
        dict(_scope_='mmpretrain', type='ColorJitter', brightness=0.4),
        dict(type='RandomApply', transforms=[dict(type='YOLOXHSVRandomAug')]),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)),
        dict(type='Normalize', mean=[0], std=[1]),
        dict(type='lfi.LoadRegions', transforms=[dict(type='RandomFlip', prob=0.5)]),
    ]
    refuse_unrecorded_steps(ConfigDict(dataset_of(*colours, *RECORD, *colours, *READ)), 'mmdet')


def test_a_wrapped_data_set_inherits_the_scope():
    inner = dataset_of(dict(type='PhotoMetricDistortion'), *RECORD, *READ)
    refuse_unrecorded_steps(dict(_scope_='mmdet', type='RepeatDataset', times=2, dataset=inner), 'mmpretrain')


def test_without_a_cache_everything_passes():
    online = dataset_of(dict(type='Mosaic'), *RECORD, dict(type='lfi.LoadInteractionMaps'), READ[1])
    refuse_unrecorded_steps(ConfigDict(online), 'mmdet')
    refuse_unrecorded_steps(None)
