"""The baselines' losses against their formulas, location by location."""

import math

import pytest
import torch
from lfi.registry import MODELS
from lfi.structures import ImageFeatures

B, CLASSES = 3, 5


def features(dims, grid, seed):
    generator = torch.Generator().manual_seed(seed)
    return ImageFeatures(
        pooled=torch.randn(B, dims, generator=generator),
        scores=3 * torch.randn(B, CLASSES, generator=generator),
        locations=torch.randn(B, dims, *grid, generator=generator),
    )


@pytest.fixture
def student():
    return features(8, (4, 4), 0)


@pytest.fixture
def teacher():
    return features(6, (4, 4), 1)


def test_feature_mse_is_the_distance_of_unit_vectors(student, teacher):
    torch.manual_seed(0)
    loss = MODELS.build(dict(type='lfi.FeatureMSELoss', student_dims=8, teacher_dims=6, loss_weight=3.0))
    total = 0.0
    for b in range(B):
        ours = loss.projection.weight @ student.pooled[b] + loss.projection.bias
        cosine = ours @ teacher.pooled[b] / (ours.norm() * teacher.pooled[b].norm())
        total += 2 - 2 * cosine.item()
    assert loss(student, teacher)['loss_feature'].item() == pytest.approx(3 * total / B, rel=1e-5)


def test_logit_kd_is_hintons(student, teacher):
    loss = MODELS.build(dict(type='lfi.LogitKDLoss', temperature=2.0, loss_weight=0.5))
    total = 0.0
    for ours, theirs in zip(student.scores.tolist(), teacher.scores.tolist()):
        p, q = ([math.exp(x / 2) for x in row] for row in (theirs, ours))
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q))
    assert loss(student, teacher)['loss_logits'].item() == pytest.approx(0.5 * 4 * total / B, rel=1e-5)


def test_attention_transfer_compares_who_attends_to_whom(student, teacher):
    loss = MODELS.build(dict(type='lfi.AttentionTransferLoss', loss_weight=2.0))

    def attention(places, i):
        unit = places.flatten(1).T
        unit = unit / unit.norm(dim=1, keepdim=True)
        weights = [math.exp((unit[i] @ unit[j]).item() / 0.1) for j in range(16)]
        return [weight / sum(weights) for weight in weights]

    total = 0.0
    for b in range(B):
        for i in range(16):
            p, q = attention(teacher.locations[b], i), attention(student.locations[b], i)
            total += sum(x * math.log(x / y) for x, y in zip(p, q))
    assert loss(student, teacher)['loss_attention'].item() == pytest.approx(2 * total / (B * 16), rel=1e-4)


def test_attention_of_another_grid_is_brought_to_ours(student):
    fine = features(6, (8, 8), 2)
    coarse = ImageFeatures(
        fine.pooled,
        fine.scores,
        torch.nn.functional.interpolate(fine.locations, (4, 4), mode='bilinear', antialias=True),
    )
    loss = MODELS.build(dict(type='lfi.AttentionTransferLoss'))
    assert torch.equal(loss(student, fine)['loss_attention'], loss(student, coarse)['loss_attention'])


@pytest.mark.parametrize('name', ['LogitKDLoss', 'AttentionTransferLoss'])
def test_what_is_copied_costs_nothing(name, teacher):
    loss = MODELS.build(dict(type=f'lfi.{name}'))
    (value,) = loss(teacher, teacher).values()
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match='temperature=0 must be a number above 0'):
        MODELS.build(dict(type='lfi.LogitKDLoss', temperature=0))


def test_attention_transfer_is_shielded_from_autocast(student, teacher):
    loss = MODELS.build(dict(type='lfi.AttentionTransferLoss'))
    expected = loss(student, teacher)['loss_attention']
    with torch.autocast('cpu', torch.bfloat16):
        got = loss(student, teacher)['loss_attention']
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)
