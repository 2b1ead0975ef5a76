"""A faster evaluator gives the numbers of pycocotools."""

import importlib.util

import numpy as np
import pytest
import torch
from lfi.evaluation import faster_coco_metric
from lfi.registry import METRICS
from mmengine.structures import InstanceData
from pycocotools.mask import encode as run_lengths

installed = pytest.mark.skipif(
    importlib.util.find_spec('faster_coco_eval') is None, reason='faster-coco-eval is not installed'
)


def masks_of(boxes, size=64):
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().int().tolist()):
        mask[y1:y2, x1:x2] = True
    return masks


def sample(number, rng):
    """An image of up to five objects, a crowd among them, and up to eight that are found near them."""
    count = int(rng.integers(0, 6))
    corners = np.sort(rng.uniform(0, 63, (count, 2, 2)), axis=1).reshape(-1, 4)
    boxes = torch.tensor(np.concatenate([corners[:, :2], corners[:, 2:] + 1], 1), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 3, count))
    crowd = rng.random(count) < 0.2
    instances = [
        dict(
            bbox=box.tolist(),
            bbox_label=int(label),
            ignore_flag=int(ignored),
            mask=None if mask is None else encode(mask),
        )
        for box, label, ignored, mask in zip(boxes, labels, crowd, masks_of(boxes))
    ]
    found = torch.cat([boxes + torch.tensor(rng.normal(0, 3, boxes.shape)).float() for _ in range(2)])[:8]
    found = found.clamp(0, 64)
    found = torch.cat(
        [torch.minimum(found[:, :2], found[:, 2:]), torch.maximum(found[:, :2], found[:, 2:])], 1
    )
    prediction = InstanceData(
        bboxes=found,
        scores=torch.tensor(rng.random(len(found))).float(),
        labels=torch.tensor(rng.integers(0, 3, len(found))),
        masks=masks_of(found),
    )
    return dict(
        img_id=number,
        ori_shape=(64, 64),
        instances=instances,
        pred_instances=dict(prediction.items()),
    )


def encode(mask):
    return run_lengths(np.asfortranarray(mask.numpy().astype(np.uint8)))


@installed
@pytest.mark.parametrize('arguments', [dict(), dict(classwise=True), dict(proposal_nums=(1, 10, 100))])
def test_the_numbers_are_mmdets(arguments):
    rng = np.random.default_rng(0)
    samples = [sample(number, rng) for number in range(40)]
    found = []
    for kind in ('mmdet.CocoMetric', 'lfi.FasterCocoMetric'):
        metric = METRICS.build(dict(type=kind, metric=['bbox', 'segm'], format_only=False, **arguments))
        metric.dataset_meta = dict(classes=('a', 'b', 'c'))
        metric.process({}, samples)
        found.append(metric.evaluate(len(samples)))
    plain, faster = found
    assert plain.keys() == faster.keys() and plain['coco/bbox_mAP_50'] > 0.05
    for name, value in plain.items():
        assert faster[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_without_the_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(faster_coco_metric, 'find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lfi\[coco\]', or .* 'CocoMetric'"):
        METRICS.build(dict(type='lfi.FasterCocoMetric'))
