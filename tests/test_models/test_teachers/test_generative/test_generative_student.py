"""A student that learns from a generative VLM through a cache."""

import numpy as np
import pytest
import torch
from lfi.structures import TeacherReading
from small_students import HEAD, batch, interactions, small_classifier

NAMES = ['cat', 'red bus', 'dog']


@pytest.fixture
def make_model(generative_folder):
    """A classifier of two classes whose teacher is a tiny Qwen2-VL that knows three concepts."""

    def make(cache=None):
        torch.manual_seed(0)
        arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        teacher = dict(
            extractor=dict(type='generative'), concepts=NAMES, templates=['{}'], input_size=32, cache=cache
        )
        return small_classifier(
            f'transformers:{generative_folder("qwen2_vl")}',
            backbone=dict(arch=arch),
            head=dict(HEAD, num_classes=2),
            teacher=teacher,
            supervision=interactions(dict(spatial_reading='logits', presence='image'), semantic_weight=0),
        )

    return make


def test_a_student_learns_from_it_through_a_cache(make_model, cache_of, tmp_path):
    model = make_model()
    images, samples = batch(shapes=(None, None), labels=(0, 1))
    maps = model.teacher.ask(model.batch_of(images, samples))
    cache_of(model, samples, maps)
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)

    cached = make_model(str(tmp_path))
    read_maps = cached.teacher.maps_of([sample.interaction_maps for sample in samples], 'cpu')
    torch.testing.assert_close(read_maps.presence, maps.presence, atol=1e-3, rtol=1e-3)
    # Each concept is judged by itself.
    assert np.ptp(maps.presence.numpy()) > 1e-3 and (maps.presence.sum(1) != 1).all()
    optimizer = torch.optim.SGD(cached.parameters(), 0.01)
    first, second = (_step(cached, optimizer, images, samples) for _ in range(2))
    assert set(first) == {'loss_cls', 'loss_spatial', 'loss_presence'}
    assert sum(second.values()) < sum(first.values())


def _step(model, optimizer, images, samples):
    losses = {name: value for name, value in model.loss(images, samples).items() if 'loss' in name}
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def test_its_maps_compare_no_concepts(make_model):
    teacher = make_model().teacher
    with pytest.raises(
        ValueError, match="spatial_reading='concept_softmax' compares concepts .* set reading.spatial"
    ):
        TeacherReading('concept_softmax', 'image').check(teacher.directions)
