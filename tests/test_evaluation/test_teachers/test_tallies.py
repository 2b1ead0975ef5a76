import numpy as np
import pytest
import torch
from lfi.errors import UsageError
from lfi.evaluation.teachers.images import ImageSample
from lfi.evaluation.teachers.tallies import AccuracyTally, PresenceTally

IMAGE = np.zeros((4, 4, 3), np.uint8)


def test_regions_of_another_area_are_neither_present_nor_absent():
    large, small = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    small[0, 0] = True
    tally = PresenceTally(3, (0.5, 1.0))
    image = ImageSample(IMAGE, {0: large, 2: small}, None)
    tally.add(image, {'image': torch.tensor([0.9, 0.2, 0.7])})
    tally.add(ImageSample(IMAGE, {}, None), {'image': torch.ones(3)})
    found = tally.summary()
    assert list(found) == ['image', 'chance: how often']
    assert found['image']['precision'] == found['image']['recall'] == 1
    assert found['image']['brier'] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert tally.errors('image').tolist() == pytest.approx([found['image']['brier']])


def test_what_crowds_alone_show_is_neither_present_nor_absent():
    image = ImageSample(IMAGE, {0: np.ones((4, 4), bool)}, None, frozenset({2}))
    tally, naming = PresenceTally(3, (0.0, 1.0)), AccuracyTally(3)
    for presence in ([0.9, 0.2, 0.7], [0.6, 0.1, 0.8]):
        tally.add(image, {'image': torch.tensor(presence)})
        naming.add(image, torch.tensor(presence))
    assert tally.summary()['image']['precision'] == 1
    assert naming.in_image == [True]


def test_how_often_a_concept_is_shown_is_of_what_counts():
    large, small = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    small[0, 0] = True
    tally = PresenceTally(1, (0.5, 1.0))
    for mask in (large, small, small, large):
        tally.add(ImageSample(IMAGE, {0: mask}, None), {'image': torch.tensor([0.9])})
    # Where it counts it is always there.
    assert tally.summary()['chance: how often']['brier'] == 0


def test_a_class_beyond_the_concepts_is_named():
    image = ImageSample(IMAGE, {5: np.ones((4, 4), bool)}, None)
    with pytest.raises(UsageError, match='the images have the class 5, and teacher.concepts are 3'):
        PresenceTally(3, (0.0, 1.0)).add(image, {'image': torch.ones(3)})
