"""`DenseFeatures` against its formula, location by location."""

import math

import pytest
import torch
from part_inputs import build, compare, features, outputs_of, read

GRID = (2, 3)


@pytest.fixture
def part():
    return build('lfi.DenseFeatures', tokens=8, texts=5, loss_weight=3.0)


def test_it_is_half_of_each_distance(part):
    student, teacher = features(8, GRID), features(5, GRID, seed=1)
    rows = teacher.locations.permute(0, 2, 3, 1).reshape(-1, 5)
    mean, deviation = rows.mean(0), rows.std(0, correction=0)
    cosine = smooth = 0.0
    for b in range(3):
        for i in range(2):
            for j in range(3):
                ours = part.head(student.locations[b, :, i, j]).tolist()
                theirs = ((teacher.locations[b, :, i, j] - mean) / deviation).tolist()
                product = sum(x * y for x, y in zip(ours, theirs))
                cosine += 1 - product / math.hypot(*ours) / math.hypot(*theirs)
                gaps = [abs(x - y) for x, y in zip(ours, theirs)]
                smooth += sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / 5
    terms = compare(part, student, teacher)
    assert terms['loss_cosine'].item() == pytest.approx(1.5 * cosine / 18, rel=1e-4)
    assert terms['loss_smooth_l1'].item() == pytest.approx(1.5 * smooth / 18, rel=1e-4)


def test_its_teachers_width_may_be_stated():
    part = build('lfi.DenseFeatures', texts=5, teacher_dims=7)
    assert part.head[-1].out_features == len(part.standardise.mean) == 7


def test_the_statistics_grow_in_training_only_and_are_in_checkpoints(part):
    compare(part, features(8, GRID), features(5, GRID, seed=1))
    state = {name: value.clone() for name, value in part.state_dict().items()}
    assert {'standardise.mean', 'standardise.variance', 'standardise.count'} <= state.keys()
    read(part.eval(), features(5, GRID, seed=2))
    assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items())


def test_the_mean_is_that_of_each_location(part, means_of):
    """Of the standardised features of all images so far."""
    first, second = (read(part, features(5, GRID, seed=seed)) for seed in (1, 2))
    means = means_of(part)
    part.with_means(first, means, 5)
    changed = part.with_means(second, means, 5)
    for i in range(6):
        each = [image[i] for target in (first, second) for image in target]
        for b in range(3):
            torch.testing.assert_close(changed[b, i], sum(each) / 6)
    student = outputs_of(features(8, GRID))
    assert all(value.isfinite() for value in part(student, changed).values())
