from types import SimpleNamespace

import numpy as np
import pytest
from lfi.datasets import LabelledShareSampler, SemiSupervisedDataset
from lfi.datasets.labelled_images import labelled_mask
from lfi.structures import is_unlabelled
from mmdet.engine.hooks import PipelineSwitchHook, YOLOXModeSwitchHook
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.registry import DATASETS
from torch import nn

PACK = dict(type='mmpretrain.PackInputs')
SMALLER = dict(type='mmpretrain.Resize', scale=16)
SHAPES = dict(type='lfi.Shapes', split='train', num_images=6, img_size=32, pipeline=[PACK])
HIDDEN = dict(type='lfi.FewLabels', labels_per_class=0, dataset=dict(SHAPES, num_images=10, seed=1))


def sizes(dataset):
    return [tuple(dataset[i]['inputs'].shape[1:]) for i in (0, 5, 6, 15)]


def begin_epoch(hook, dataset, epoch):
    """What a hook does to a run of five epochs as one begins."""
    model = nn.Module()
    model.bbox_head = SimpleNamespace(use_l1=False)
    runner = SimpleNamespace(
        epoch=epoch,
        max_epochs=5,
        train_dataloader=SimpleNamespace(dataset=dataset, persistent_workers=False),
        logger=SimpleNamespace(info=lambda text: None),
        model=model,
    )
    hook.before_train_epoch(runner)


def test_images_without_labels_stand_beside_those_with_and_name_nothing():
    named = dict(HIDDEN, dataset=dict(HIDDEN['dataset'], metainfo=dict(classes=('a',), more=1)))
    dataset = SemiSupervisedDataset([SHAPES, named])
    assert isinstance(dataset, ConcatDataset) and len(dataset) == 16
    assert dataset.metainfo == DATASETS.build(SHAPES).metainfo
    # mmpretrain's ClassNumCheckHook asks for them.
    assert dataset.metainfo['classes'] == dataset.CLASSES
    assert np.array_equal(labelled_mask(dataset), [True] * 6 + [False] * 10)
    assert len(LabelledShareSampler(dataset)) == 20
    with pytest.raises(ValueError, match='does not match meta information'):
        ConcatDataset([SHAPES, dict(HIDDEN, dataset=dict(HIDDEN['dataset'], metainfo=dict(classes=('a',))))])


class MarkedInTheInfoAlone(BaseDataset):
    """Images whose data info says that their label is unknown, which no pipeline packs."""

    def load_data_list(self):
        return [dict(img=np.zeros((32, 32, 3), np.uint8), gt_label=2, unlabelled=True) for _ in range(4)]


def test_samples_beside_those_with_labels_are_marked_whatever_they_say():
    beside = MarkedInTheInfoAlone(pipeline=[PACK])
    assert not is_unlabelled(beside[0]['data_samples'])
    dataset = SemiSupervisedDataset([SHAPES, beside])
    marks = [is_unlabelled(dataset[index]['data_samples']) for index in range(10)]
    assert marks == [False] * 6 + [True] * 4 and is_unlabelled(dataset[-1]['data_samples'])


@pytest.mark.parametrize(
    'labelled',
    [
        SHAPES,
        dict(type='RepeatDataset', times=1, dataset=SHAPES),
        dict(HIDDEN, dataset=SHAPES),
        dict(
            type='RepeatDataset',
            times=1,
            dataset=dict(type='ConcatDataset', datasets=[dict(SHAPES, num_images=3)] * 2),
        ),
    ],
)
def test_a_hook_switches_the_pipeline_of_the_images_with_labels(labelled):
    dataset = SemiSupervisedDataset([labelled, HIDDEN])
    hook = PipelineSwitchHook(switch_epoch=3, switch_pipeline=[SMALLER, PACK])
    begin_epoch(hook, dataset, 2)
    assert sizes(dataset) == [(32, 32)] * 4
    begin_epoch(hook, dataset, 3)
    assert sizes(dataset) == [(16, 16)] * 2 + [(32, 32)] * 2
    # What hides labels keeps hiding them.
    hidden = labelled['type'] == 'lfi.FewLabels'
    assert [dataset[i]['data_samples'].metainfo.get('unlabelled', False) for i in (0, 6)] == [hidden, True]


def test_a_hook_leaves_out_steps_of_the_images_with_labels():
    mixed = dict(
        type='mmdet.MultiImageMixDataset', dataset=SHAPES, pipeline=[dict(type='mmdet.RandomFlip', prob=0.0)]
    )
    dataset = SemiSupervisedDataset([mixed, HIDDEN])
    hook = YOLOXModeSwitchHook(num_last_epochs=1, skip_type_keys=('RandomFlip',))
    begin_epoch(hook, dataset, 3)
    assert dataset.datasets[0]._skip_type_keys == ('RandomFlip',)


def test_only_the_first_has_labels():
    with pytest.raises(ValueError, match='Shapes has labels, and is not the first data set'):
        SemiSupervisedDataset([SHAPES, SHAPES])
    later = SemiSupervisedDataset([SHAPES, SHAPES], lazy_init=True)
    with pytest.raises(ValueError, match='Shapes has labels, and is not the first data set'):
        later.full_init()
