"""Maps from a cache."""

import pytest
import torch
from lfi.datasets import LoadInteractionMaps
from lfi.models.teachers import feature_identity, features_to_cache, maps_identity, maps_to_cache
from small_students import batch, parts
from written_cache import write_cache


def test_maps_from_a_cache_are_warped_into_each_view(cached_model, make_classifier):
    model, images, samples, _ = cached_model
    for sample, flip in zip(samples, (1.0, -1.0)):
        sample.set_field(torch.tensor([[flip, 0, 0], [0, 1, 0]]), 'view', dtype=torch.Tensor)
    cached, _ = model.predict_interactions(images, samples)
    online, _ = make_classifier().predict_interactions(images, samples)
    extent = (online.logits.amax() - online.logits.amin()).item()
    torch.testing.assert_close(cached.logits[0], online.logits[0], atol=extent / 255, rtol=0)
    torch.testing.assert_close(cached.logits[1], online.logits[1].flip(-1), atol=extent / 255, rtol=0)
    assert cached.valid.all()


def test_a_class_that_a_crop_has_left_out_keeps_the_presence_that_the_teacher_gives_it(make_classifier):
    model = make_classifier(teacher=dict(max_concepts=2))
    images, samples = batch(shapes=(None, None), labels=(2, 0))
    kept = model.teacher.ask(model.batch_of(images, samples))
    probabilities = make_classifier().teacher(images, model.pixel_format).presence
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


def test_a_data_set_without_views_may_stand_beside_one_with(make_classifier):
    model, (inputs, samples) = make_classifier(), batch()
    samples[1].set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    for order in ([0, 1, 2], [1, 0, 2]):
        losses = model.loss(inputs[order], [samples[i] for i in order])
        assert all(value.isfinite() for value in losses.values())


def test_maps_that_one_image_lacks_are_asked_for(cached_model):
    model, images, samples, _ = cached_model
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    del samples[1].interaction_maps
    with pytest.raises(ValueError, match="needs each image's maps: .*train_pipeline of each data set"):
        model.loss(images, samples)


# ---- What is learnt from a cache is what is learnt online ------------------------------------------------

# Those that read features read a CNN's, whose embedding is the mean of its locations.
OF_FEATURES = ('affinity', 'dense_features', 'feature_mse', 'lightly_train')
OF_MAPS = ('interactions',)


@pytest.fixture
def both(make_classifier, tmp_path):
    """A student that asks its teacher online, one that reads what a cache keeps of a batch, and the batch."""

    def make(*names, **teacher):
        teacher = dict(extractor='dense', input_size=32, **teacher)
        online = make_classifier('cnn_test_resnet', supervision=parts(*names), teacher=teacher)
        inputs, samples = batch()
        view = online.batch_of(inputs, samples)
        maps = set(online.teacher_outputs) <= {'maps', 'class_scores'} and 'maps' in online.teacher_outputs
        keep, identity = (maps_to_cache, maps_identity) if maps else (features_to_cache, feature_identity)
        kept = keep(online.teacher, view)
        paths, texts = [sample.img_path for sample in samples], online.teacher.text_embeddings.numpy()
        write_cache(tmp_path, identity(online.teacher_cfg), paths, texts, kept)
        read = LoadInteractionMaps(str(tmp_path))
        for sample in samples:
            sample.set_field(read(dict(img_path=sample.img_path))['interaction_maps'], 'interaction_maps')
            sample.set_field(torch.eye(2, 3), 'view')
        cached = make_classifier(
            'cnn_test_resnet', supervision=parts(*names), teacher=dict(teacher, cache=str(tmp_path))
        )
        return online.eval(), cached.eval(), (inputs, samples)

    return make


def values_of(name, target):
    """The tensors of a part's target, by name."""
    if name == 'dense_features':
        # A cache keeps no length: each image's mean feature has that of the scores' scale.
        return dict(target=target / target.mean(1, keepdim=True).norm(dim=2, keepdim=True))
    if isinstance(target, torch.Tensor):
        return dict(target=target)
    fields = target._asdict() if hasattr(target, '_asdict') else vars(target)
    return {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize('names', [OF_MAPS, OF_FEATURES, (*OF_MAPS, *OF_FEATURES), ('logit_kd',)])
@pytest.mark.parametrize('max_concepts', [None, 3])
def test_of_unaugmented_views_targets_are_the_online_teachers(both, names, max_concepts):
    online, cached, data = both(*names, max_concepts=max_concepts)
    ours, theirs = (model.part_targets(model.batch_of(*data)) for model in (cached, online))
    assert ours.keys() == theirs.keys() == {*names}
    for name in names:
        found, expected = values_of(name, ours[name]), values_of(name, theirs[name])
        assert found.keys() == expected.keys()
        for field, value in expected.items():
            if not value.is_floating_point():
                assert torch.equal(found[field], value), (name, field)
                continue
            # Half a step of 1/255 of the range of a map or a channel.
            extent = (value.amax() - value.amin()).item()
            torch.testing.assert_close(found[field], value, atol=0.02 * extent, rtol=0, msg=f'{name} {field}')


def test_class_scores_of_a_cache_of_maps_are_the_logarithm_of_its_presence(both):
    online, cached, data = both('interactions', 'logit_kd')
    ours, theirs = (model.part_targets(model.batch_of(*data))['logit_kd'] for model in (cached, online))
    torch.testing.assert_close(ours.exp(), theirs.exp(), atol=1e-3, rtol=1e-3)
