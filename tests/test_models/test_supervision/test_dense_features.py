"""`DenseFeaturesLoss` against its formula, location by location."""

import math

import pytest
import torch
from lfi.registry import MODELS
from lfi.structures import ImageFeatures


def features(dims, grid=(2, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    locations = torch.randn(3, dims, *grid, generator=generator)
    return ImageFeatures(torch.zeros(3, dims), torch.zeros(3, 2), locations)


@pytest.fixture
def loss():
    torch.manual_seed(0)
    return MODELS.build(dict(type='lfi.DenseFeaturesLoss', student_dims=8, teacher_dims=5, loss_weight=3.0))


def test_it_is_half_of_each_distance(loss):
    student, teacher = features(8), features(5, seed=1)
    rows = teacher.locations.permute(0, 2, 3, 1).reshape(-1, 5)
    mean, deviation = rows.mean(0), rows.std(0, correction=0)
    cosine = smooth = 0.0
    for b in range(3):
        for i in range(2):
            for j in range(3):
                ours = loss.head(student.locations[b, :, i, j]).tolist()
                theirs = ((teacher.locations[b, :, i, j] - mean) / deviation).tolist()
                product = sum(x * y for x, y in zip(ours, theirs))
                cosine += 1 - product / math.hypot(*ours) / math.hypot(*theirs)
                gaps = [abs(x - y) for x, y in zip(ours, theirs)]
                smooth += sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / 5
    terms = loss(student, teacher)
    assert terms['loss_cosine'].item() == pytest.approx(1.5 * cosine / 18, rel=1e-4)
    assert terms['loss_smooth_l1'].item() == pytest.approx(1.5 * smooth / 18, rel=1e-4)


def test_features_of_another_grid_are_brought_to_ours(loss):
    student, fine = features(8), features(5, (4, 6), seed=1)
    coarse = ImageFeatures(fine.pooled, fine.scores, fine.locations_on((2, 3)))
    ours, theirs = loss(student, fine), loss.eval()(student, coarse)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_statistics_are_in_checkpoints(loss):
    loss(features(8), features(5, seed=1))
    assert {'standardise.mean', 'standardise.variance', 'standardise.count'} <= loss.state_dict().keys()
