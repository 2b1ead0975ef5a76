"""`PairwiseAffinity` against its formula, location by location."""

import math

import pytest
import torch
from part_inputs import build, compare, features, outputs_of, read

B = 3


def affinity(locations, i):
    unit = locations.flatten(1).T
    unit = unit / unit.norm(dim=1, keepdim=True)
    weights = [math.exp((unit[i] @ other).item() / 0.1) for other in unit]
    return [weight / sum(weights) for weight in weights]


def test_it_compares_which_locations_are_alike():
    student, teacher = features(8), features(6, seed=1)
    total = 0.0
    for b in range(B):
        for i in range(16):
            p, q = affinity(teacher.locations[b], i), affinity(student.locations[b], i)
            total += sum(x * math.log(x / y) for x, y in zip(p, q))
    part = build('lfi.PairwiseAffinity', loss_weight=2.0)
    terms = compare(part, student, teacher)
    assert terms['loss_affinity'].item() == pytest.approx(2 * total / (B * 16), rel=1e-4)


def test_what_is_copied_costs_nothing():
    (value,) = compare(build('lfi.PairwiseAffinity'), features(6), features(6)).values()
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_it_is_shielded_from_autocast():
    part, student, teacher = build('lfi.PairwiseAffinity'), features(8), features(6, seed=1)
    expected = compare(part, student, teacher)['loss_affinity']
    with torch.autocast('cpu', torch.bfloat16):
        got = compare(part, student, teacher)['loss_affinity']
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


def test_the_mean_is_that_of_all_views_so_far(means_of):
    part = build('lfi.PairwiseAffinity', loss_weight=2.0)
    student, teachers = features(8, (2, 2), b=2), [features(6, (2, 2), seed, b=2) for seed in (1, 2)]
    means = means_of(part)
    for teacher in teachers:
        target = part.with_means(read(part, teacher), means, 5)
    got = part(outputs_of(student), target)['loss_affinity'].item()
    total = 0.0
    for i in range(4):
        each = [affinity(image, i) for teacher in teachers for image in teacher.locations]
        p = [sum(column) / 4 for column in zip(*each)]
        for b in range(2):
            q = affinity(student.locations[b], i)
            total += sum(x * math.log(x / y) for x, y in zip(p, q))
    assert got == pytest.approx(2 * total / 8, rel=1e-4)
