"""From answers to objects, against a flood fill."""

import re

import numpy as np
import pytest
import torch
from lfi.pseudo_labels import LabelRules, ObjectLabel, concept_masks, label_image
from lfi.pseudo_labels.labelling import connected_regions
from pycocotools import mask as rle

SIZE = (24, 30)


def flood(mask):
    """The connected regions of a mask, by filling each from its first pixel."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask))}
    found = []
    while left:
        queue, region = [left.pop()], np.zeros(mask.shape, bool)
        while queue:
            y, x = queue.pop()
            region[y, x] = True
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            queue += near
        found.append(region)
    return found


def key(mask):
    return mask.tobytes()


@pytest.mark.parametrize('seed', range(4))
def test_regions_are_those_of_a_flood_fill(seed):
    mask = np.random.default_rng(seed).random((20, 17)) < 0.35
    expected = [region for region in flood(mask) if region.sum() >= 3]
    assert {key(region) for region in connected_regions(mask, 3)} == {key(region) for region in expected}
    assert connected_regions(np.zeros((4, 4), bool), 0) == []


def test_each_region_of_a_present_concept_is_an_object(make_answers):
    rules = LabelRules(presence_threshold=0.2, mask_threshold=0.4, min_area=0.01)
    answers = make_answers(5, presence=torch.tensor([0.9, 0.1, 0.3]))
    labels = label_image(answers, SIZE, rules)
    assert labels.presence == {0: 0.9, 2: 0.3} and list(labels.presence) == [0, 2]
    masks, strength = concept_masks(answers, [0, 2], SIZE, 0.4)
    expected = [
        (concept, round(presence * strength[i].numpy()[region].mean().item(), 4), region)
        for i, (concept, presence) in enumerate(((0, 0.9), (2, 0.3)))
        for region in flood(masks[i].numpy())
        if region.sum() >= 0.01 * 24 * 30
    ]
    assert len(expected) > 2
    assert [found.score for found in labels.objects] == sorted((s for _, s, _ in expected), reverse=True)
    for concept, score, region in expected:
        (found,) = (f for f in labels.objects if key(rle.decode(f.segmentation).astype(bool)) == key(region))
        assert (found.concept, found.area) == (concept, region.sum())
        assert found.score == pytest.approx(score, abs=1e-4)
        rows, columns = np.nonzero(region.any(1))[0], np.nonzero(region.any(0))[0]
        x, y, w, h = found.bbox
        assert (x, y) == (columns[0], rows[0]) and (x + w - 1, y + h - 1) == (columns[-1], rows[-1])


def test_the_strongest_objects_are_kept(make_answers):
    answers = make_answers(5, presence=torch.ones(3))
    every = label_image(answers, SIZE, LabelRules(0.5, min_area=0))
    two = label_image(answers, SIZE, LabelRules(0.5, min_area=0, max_per_image=2))
    assert len(every.objects) > 2 and two.objects == every.objects[:2]
    assert two.presence == every.presence


def test_without_a_present_concept_there_is_nothing(make_answers):
    labels = label_image(make_answers(presence=torch.full((3,), 0.4)), SIZE, LabelRules(0.5))
    assert labels.presence == {} and labels.objects == []


def test_a_concept_may_be_present_and_nowhere(make_answers):
    answers = make_answers(presence=torch.tensor([0.9, 0.0, 0.0]), maps=torch.zeros(3, 4, 5))
    labels = label_image(answers, SIZE, LabelRules(0.5))
    assert labels.presence == {0: 0.9} and labels.objects == []


def test_an_object_is_plain_data():
    mask = np.zeros((5, 4), bool)
    mask[1:3, 2] = True
    found = ObjectLabel.from_mask(3, 0.123456, mask)
    assert (found.concept, found.score, found.bbox, found.area) == (3, 0.1235, [2.0, 1.0, 1.0, 2.0], 2)
    assert found.segmentation['size'] == [5, 4] and isinstance(found.segmentation['counts'], str)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(presence_threshold=1.2), 'presence_threshold=1.2 must lie in [0, 1]'),
        (dict(presence_threshold=0.5, mask_threshold=-0.1), 'mask_threshold=-0.1 must lie in [0, 1]'),
        (dict(presence_threshold=0.5, min_area=64), 'min_area=64 must lie in [0, 1]'),
        (dict(presence_threshold=0.5, max_per_image=0), 'max_per_image=0 must be at least 1'),
    ],
)
def test_rules_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LabelRules(**fields)
