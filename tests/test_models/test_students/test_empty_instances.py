"""Images without annotations get empty ones of the kinds that the others have."""

import pytest
import torch
from lfi.models.students.detectors import empty_unlabelled
from mmdet.models import DetDataPreprocessor
from mmengine.structures import PixelData
from small_detectors import sample

SIZE = (48, 64)


def preprocessor(**options):
    module = DetDataPreprocessor(mean=[0] * 3, std=[1] * 3, pad_mask=True, pad_size_divisor=32, **options)
    empty_unlabelled(module)
    return module


def run(module, samples):
    images = [torch.zeros(3, *SIZE, dtype=torch.uint8)] * len(samples)
    return module(dict(inputs=images, data_samples=samples), True)['data_samples']


def labelled(**annotations):
    found = sample(SIZE, [[8, 8, 40, 40]], [1])
    for name, value in annotations.items():
        setattr(found, name, value)
    return found


def unlabelled():
    found = sample(SIZE, unlabelled=True)
    del found.gt_instances, found.ignored_instances
    return found


def test_the_first_batch_may_hold_no_label():
    module = preprocessor()
    for first in run(module, [unlabelled(), unlabelled()]):
        assert len(first.gt_instances) == len(first.gt_instances.masks) == 0
        assert 'gt_sem_seg' not in first
    # A later image tells that there are no masks.
    boxes = labelled()
    del boxes.gt_instances.masks
    assert 'masks' not in run(module, [unlabelled(), boxes])[0].gt_instances


@pytest.mark.parametrize('hidden', [(0,), (1,), (0, 1)])
def test_a_map_of_classes_is_blank_where_the_others_have_one(hidden):
    module = preprocessor(pad_seg=True)
    map_of = PixelData(sem_seg=torch.ones(1, *SIZE, dtype=torch.long))
    samples = [unlabelled() if row in hidden else labelled(gt_sem_seg=map_of.clone()) for row in range(2)]
    for row, found in enumerate(run(module, samples)):
        seen = found.gt_sem_seg.sem_seg
        assert seen.shape == (1, 64, 64)
        assert (seen[:, : SIZE[0]] == (0 if row in hidden else 1)).all()
        assert (seen[:, SIZE[0] :] == 255).all()
