"""A student that learns from a generative VLM through a cache."""

import numpy as np
import pytest
import torch
from lfi.models import LFIImageClassifier
from lfi.models.teachers import TeacherBatch
from lfi.structures import TeacherReading
from mmpretrain.structures import DataSample

NAMES = ['cat', 'red bus', 'dog']


@pytest.fixture
def make_model(generative_folder):
    """A classifier of two classes whose teacher is a tiny Qwen2-VL that knows three concepts."""

    def make(**kwargs):
        torch.manual_seed(0)
        arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        model = LFIImageClassifier(
            backbone=dict(type='lfi.InteractionQueryViT', arch=arch, img_size=32, patch_size=8),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=16),
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor', mean=[100.0, 120, 140], std=[50.0, 60, 70]
            ),
            teacher=dict(
                type='lfi.VLMAttentionTeacher',
                model=f'transformers:{generative_folder("qwen2_vl")}',
                extractor=dict(type='generative'),
                concepts=NAMES,
                templates=['{}'],
                input_size=32,
            ),
            reading=dict(positions_reading='scores', presence='image'),
            interaction_loss=dict(concepts_weight=0),
            **kwargs,
        )
        model.init_weights()
        return model.train()

    return make


def test_a_student_learns_from_it_through_a_cache(make_model, cache_of, tmp_path):
    model = make_model()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    samples = [
        DataSample(metainfo=dict(img_path=f'/data/{i}.jpg', img_shape=(32, 32))).set_gt_label(i)
        for i in range(2)
    ]
    maps = model.maps_to_cache(TeacherBatch(images, model.pixels, [(32, 32)] * 2), samples)
    cache_of(model, samples, maps)
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)

    cached = make_model(teacher_cache=str(tmp_path))
    read_maps = cached.teacher.maps_of([sample.interaction_maps for sample in samples], 'cpu')
    torch.testing.assert_close(read_maps.presence, maps.presence, atol=1e-3, rtol=1e-3)
    # Each concept is judged by itself.
    assert np.ptp(maps.presence.numpy()) > 1e-3 and (maps.presence.sum(1) != 1).all()
    optimizer = torch.optim.SGD(cached.parameters(), 0.01)
    first, second = (_step(cached, optimizer, images, samples) for _ in range(2))
    assert set(first) == {'loss_cls', 'loss_positions', 'loss_presence'}
    assert sum(second.values()) < sum(first.values())


def _step(model, optimizer, images, samples):
    losses = {name: value for name, value in model.loss(images, samples).items() if 'loss' in name}
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def test_its_maps_compare_no_concepts(make_model):
    teacher = make_model().teacher
    with pytest.raises(ValueError, match="positions_reading='share' compares concepts .* set reading.posit"):
        TeacherReading('share', 'image').check(teacher.directions)
