"""Maps from a cache."""

import pytest
import torch
from lfi.models.batches.samples import pixel_format
from lfi.models.teachers import TeacherBatch
from small_classifier import batch


def test_maps_from_a_cache_are_warped_into_each_view(cached_model, make_model):
    model, images, samples, _ = cached_model
    for sample, flip in zip(samples, (1.0, -1.0)):
        sample.set_field(torch.tensor([[flip, 0, 0], [0, 1, 0]]), 'view', dtype=torch.Tensor)
    cached, _ = model.predict_interactions(images, samples)
    online, _ = make_model().predict_interactions(images, samples)
    extent = (online.logits.amax() - online.logits.amin()).item()
    torch.testing.assert_close(cached.logits[0], online.logits[0], atol=extent / 255, rtol=0)
    torch.testing.assert_close(cached.logits[1], online.logits[1].flip(-1), atol=extent / 255, rtol=0)
    assert cached.valid.all()


def test_a_class_that_a_crop_has_left_out_keeps_the_presence_that_the_teacher_gives_it(make_model):
    model = make_model(teacher=dict(max_concepts=2))
    images, samples = batch(shapes=(None, None), labels=(2, 0))
    kept = model.maps_to_cache(TeacherBatch(images, model.pixels, [(32, 32)] * 2), samples)
    probabilities = make_model().teacher(images, pixel_format(model.data_preprocessor)).presence
    assert kept.concepts[:, 0].tolist() == [2, 0]
    torch.testing.assert_close(kept.presence[:, 0], probabilities[[0, 1], [2, 0]])
    # The first view shows its class still, the second does not.
    seen = kept.with_labels(torch.eye(6)[[2, 5]])
    assert seen.presence[0, 0] == 1
    assert seen.presence[1].equal(kept.presence[1])


@pytest.mark.parametrize('view', [[[0.5, 0, -0.5], [0, 1.0, 0]], [[1.0, 0, 0], [0, 0.5, -0.5]]])
def test_padding_and_view_of_a_cached_image_add_up(cached_model, view):
    model, images, samples, _ = cached_model
    # The view is the image's left or upper half, stretched, and 16 of its 32 rows are padding.
    for sample in samples:
        sample.set_field(torch.tensor(view), 'view', dtype=torch.Tensor)
        sample.set_metainfo(dict(img_shape=(16, 32)))
    unaugmented = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    maps, _ = model.predict_interactions(images, samples)
    assert maps.valid.equal(torch.tensor([True, True, False, False])[None, :, None].expand(2, 4, 4))
    expected = unaugmented.warp(torch.tensor([view]).expand(2, 2, 3), (2, 4))
    torch.testing.assert_close(maps.logits[..., :2, :], expected.logits)


def test_maps_that_were_not_read_are_asked_for(cached_model):
    model, images, samples, _ = cached_model
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
        del sample.interaction_maps
    with pytest.raises(
        ValueError, match="needs each image's maps: .*lfi.LoadInteractionMaps.*algorithm_keys="
    ):
        model.loss(images, samples)


def test_a_view_that_was_not_recorded_is_asked_for(cached_model):
    model, images, samples, _ = cached_model
    with pytest.raises(ValueError, match="needs each image's view: .*lfi.RecordView.*algorithm_keys="):
        model.loss(images, samples)


def test_a_data_set_without_views_may_stand_beside_one_with(make_model):
    model, (inputs, samples) = make_model(), batch()
    samples[1].set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    for order in ([0, 1, 2], [1, 0, 2]):
        losses = model.loss(inputs[order], [samples[i] for i in order])
        assert all(value.isfinite() for value in losses.values())


def test_maps_that_one_image_lacks_are_asked_for(cached_model):
    model, images, samples, _ = cached_model
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    del samples[1].interaction_maps
    with pytest.raises(ValueError, match="needs each image's maps: .*that of each data set"):
        model.loss(images, samples)
