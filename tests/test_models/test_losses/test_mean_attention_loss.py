import math

import pytest
import torch
from lfi.registry import MODELS
from lfi.structures import ImageFeatures


def features(seed, dims=6):
    locations = torch.randn(2, dims, 2, 2, generator=torch.Generator().manual_seed(seed))
    return ImageFeatures(torch.zeros(2, dims), torch.zeros(2, 2), locations)


def attention(places, i):
    unit = places.flatten(1).T
    unit = unit / unit.norm(dim=1, keepdim=True)
    weights = [math.exp((unit[i] @ unit[j]).item() / 0.1) for j in range(4)]
    return [weight / sum(weights) for weight in weights]


def test_the_target_is_the_mean_over_all_views_so_far():
    loss = MODELS.build(dict(type='lfi.MeanAttentionLoss', loss_weight=2.0))
    student, teachers = features(0, dims=8), [features(1), features(2)]
    loss(student, teachers[0])
    got = loss(student, teachers[1])['loss_attention'].item()
    total = 0.0
    for i in range(4):
        each = [attention(image, i) for teacher in teachers for image in teacher.locations]
        p = [sum(column) / 4 for column in zip(*each)]
        for b in range(2):
            q = attention(student.locations[b], i)
            total += sum(x * math.log(x / y) for x, y in zip(p, q))
    assert got == pytest.approx(2 * total / 8, rel=1e-4)


def test_the_mean_is_in_checkpoints_and_grows_in_training_only():
    loss, resumed = (MODELS.build(dict(type='lfi.MeanAttentionLoss')) for _ in range(2))
    loss(features(0), features(1))
    resumed.load_state_dict(loss.state_dict())
    values = [x.eval()(features(0), features(2))['loss_attention'] for x in (loss, resumed)]
    assert torch.equal(*values)
    assert torch.equal(values[0], loss(features(0), features(3))['loss_attention'])
