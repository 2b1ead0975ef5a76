"""`FeatureMSE` against its formula, image by image."""

import pytest
import torch
from part_inputs import build, compare, features, read


def test_it_is_the_distance_of_unit_vectors():
    student, teacher = features(8), features(6, seed=1)
    part = build('lfi.FeatureMSE', vector=8, texts=6, loss_weight=3.0)
    total = 0.0
    for b in range(3):
        ours = part.projection.weight @ student.pooled[b] + part.projection.bias
        cosine = ours @ teacher.pooled[b] / (ours.norm() * teacher.pooled[b].norm())
        total += 2 - 2 * cosine.item()
    assert compare(part, student, teacher)['loss_feature'].item() == pytest.approx(3 * total / 3, rel=1e-5)


def test_its_teachers_width_may_be_stated():
    assert build('lfi.FeatureMSE', texts=6, teacher_dims=9).projection.out_features == 9


def test_the_mean_is_of_unit_embeddings(means_of):
    part = build('lfi.FeatureMSE')
    teachers, means = [features(6, seed=seed) for seed in (1, 2)], means_of(part)
    for teacher in teachers:
        changed = part.with_means(read(part, teacher), means, 5)
    unit = [image / image.norm() for teacher in teachers for image in teacher.pooled]
    torch.testing.assert_close(changed, (sum(unit) / 6).expand(3, -1))
