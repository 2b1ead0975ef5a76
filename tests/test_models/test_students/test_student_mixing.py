"""Images that are mixed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers import CachedTeacher
from lfi.structures import Tiles, image_windows
from mmengine.runner import set_random_seed
from mmpretrain.engine.hooks import SwitchRecipeHook
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.models.utils.batch_augments import Mixup, RandomBatchAugment
from small_students import CLASSES, NORMALISE, batch, interactions, unread_maps


def test_labels_single_several_or_mixed_stand_for_the_first_concepts(make_classifier):
    model = make_classifier()
    _, samples = batch(labels=(2, [0, 3], 1))
    expected = torch.zeros(3, 6)
    expected[0, 2] = expected[1, [0, 3]] = expected[2, 1] = 1
    assert torch.equal(model.concept_labels(samples, torch.device('cpu')), expected)
    scores = torch.tensor([[0.3, 0.0, 0.7, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]])
    for sample, score in zip(samples, scores):
        sample.set_gt_score(score)
    assert torch.equal(model.concept_labels(samples, torch.device('cpu')), F.pad(scores, (0, 2)))


def test_mixed_images_train_with_their_mixed_labels(make_classifier, monkeypatch):
    model = make_classifier(teacher=dict(max_concepts=2))
    mixup = dict(augments=dict(type='Mixup', alpha=1.0))
    model.data_preprocessor = ClsDataPreprocessor(
        **NORMALISE, to_rgb=True, num_classes=CLASSES, batch_augments=mixup
    )
    monkeypatch.setattr(np.random, 'beta', lambda *args: 0.9)
    torch.manual_seed(0)
    inputs, samples = batch()
    pixels = [(100 * image).clamp(0, 255).byte() for image in inputs]
    data = model.data_preprocessor(dict(inputs=pixels, data_samples=samples), training=True)
    labels = model.concept_labels(data['data_samples'], torch.device('cpu'))
    torch.testing.assert_close(labels.sum(1), torch.ones(3))
    assert ((labels > 0) & (labels < 1)).any()
    maps, _ = model.predict_interactions(**data)
    for b in range(3):
        presence = dict(zip(maps.concepts[b].tolist(), maps.presence[b].tolist()))
        for concept in labels[b].nonzero().flatten().tolist():
            assert presence[concept] >= labels[b, concept] - 1e-6
    losses = model.loss(**data)
    assert all(value.isfinite() and value > 0 for value in losses.values())


MIXING = {
    'Mixup': dict(type='Mixup', alpha=0.8),
    'CutMix': dict(type='CutMix', alpha=1.0),
    'ResizeMix': dict(type='ResizeMix', alpha=1.0),
}


def mixing(*names):
    augments = dict(augments=[MIXING[name] for name in names])
    return dict(num_classes=CLASSES, batch_augments=augments)


def mixed_batch(model, images, samples, seed=0):
    """Images that are shown completely, mixed."""
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    set_random_seed(seed)
    return model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)


@pytest.mark.parametrize('name', MIXING)
@pytest.mark.parametrize('presence', ['image', 'best-location'])
def test_mixed_images_learn_from_their_mixed_maps(cached_model, name, presence):
    _, images, samples, cached = cached_model
    taught = interactions(dict(spatial_reading='concept_softmax', presence=presence))
    model = cached(data_preprocessor=mixing(name), supervision=taught)
    unmixed = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    # A seed that exchanges the two.
    data = mixed_batch(model, images, samples, seed=1)
    mixture = data['data_samples'][0].metainfo['mixture']
    assert mixture.other.tolist() == [1, 0]
    maps, labels = unread_maps(model, **data)
    for b, own in enumerate(mixture.mix_labels(torch.eye(2))):
        torch.testing.assert_close(maps.presence[b], own @ unmixed.presence)
        torch.testing.assert_close(labels[b, :2], own)
    window = image_windows(mixture.size, [mixture.size] * 2, 'cpu')
    placement = mixture.place([Tiles.whole(torch.eye(2, 3))] * 2, maps.grid, window)
    both, share = placement.warp(placement.take(unmixed)), placement.share
    p = torch.stack([maps.semantic_log_probs().exp() for maps in both], 1)
    expected = (p * share[:, :, None, None]).sum(1)
    torch.testing.assert_close(maps.semantic_log_probs().exp(), expected)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    assert torch.stack(list(losses.values())).isfinite().all()


@pytest.mark.parametrize('name', MIXING)
def test_pictures_of_several_images_are_mixed_in_pairs(cached_model, name):
    _, images, samples, cached = cached_model
    model = cached(data_preprocessor=mixing(name))
    unmixed = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    # The first shows both images, one above the other; the second is an image.
    windows = torch.tensor([[[0, 1], [0, 0.5]], [[0, 1], [0.5, 1]]])
    halves = Tiles(windows, torch.eye(2, 3).repeat(2, 1, 1), (1.0, 1.0))
    stored = model.teacher.cache.stored([sample.img_path for sample in samples], halves)
    samples[0].set_field(stored, 'interaction_maps')
    data = mixed_batch(model, images, samples, seed=1)
    maps, _ = unread_maps(model, **data)
    maps.check()

    mixture = data['data_samples'][0].metainfo['mixture']
    top, bottom, left, right = mixture.box or (0, 32, 0, 32)
    shown = torch.zeros(2, 2, 32, 32)  # Which picture shows which image, pixel by pixel.
    shown[0, 0, :16] = shown[0, 1, 16:] = shown[1, 1] = 1
    theirs = shown[mixture.other]
    if mixture.resized:
        theirs[..., top:bottom, left:right] = F.interpolate(theirs, (bottom - top, right - left), mode='area')
    mixed = shown.clone()
    box = (..., slice(top, bottom), slice(left, right))
    mixed[box] = mixture.share * shown[box] + (1 - mixture.share) * theirs[box]
    torch.testing.assert_close(maps.presence, mixed.mean((-2, -1)) @ unmixed.presence)
    losses = model(**data, mode='loss')
    assert torch.stack(list(losses.values())).isfinite().all()


@pytest.mark.parametrize('name', MIXING)
def test_an_image_that_is_mixed_with_itself_is_itself(cached_model, name):
    _, images, samples, cached = cached_model
    model = cached(data_preprocessor=mixing(name))
    alone, _ = unread_maps(model, images[:1], mixed_batch(cached(), images[:1], samples[:1])['data_samples'])
    data = mixed_batch(model, images[:1], samples[:1])
    maps, _ = unread_maps(model, **data)
    torch.testing.assert_close(maps.presence, alone.presence)
    if name != 'ResizeMix':
        torch.testing.assert_close(maps.logits, alone.logits, rtol=0, atol=1e-4)


def test_a_batch_that_drew_no_mixture_is_as_it_was(cached_model):
    _, images, samples, cached = cached_model
    augments = dict(augments=[MIXING['Mixup']], probs=[0.0])
    model = cached(data_preprocessor=dict(num_classes=CLASSES, batch_augments=augments))
    data = mixed_batch(model, images, samples)
    maps, _ = unread_maps(model, **data)
    expected, _ = unread_maps(cached(), images, samples)
    for field in ('logits', 'presence', 'valid'):
        assert getattr(maps, field).equal(getattr(expected, field))


def test_captions_are_mixed_as_labels_are(cached_model):
    _, images, samples, cached = cached_model
    model = cached(data_preprocessor=mixing('Mixup'))
    for sample, concept in zip(samples, (4, 5)):
        sample.set_field(torch.tensor([concept]), 'gt_concepts')
    data = mixed_batch(model, images, samples, seed=1)
    share = data['data_samples'][0].metainfo['mixture'].share
    labels = model.concept_labels(data['data_samples'], torch.device('cpu'))
    torch.testing.assert_close(labels[:, 4:], torch.tensor([[share, 1 - share], [1 - share, share]]))


def mixed_captions(model):
    """Samples of a batch that the model has mixed, whose captions speak of the concepts 4, 5 and 4."""
    inputs, samples = batch()
    for sample, concept in zip(samples, (4, 5, 4)):
        sample.set_field(torch.tensor([concept]), 'gt_concepts')
    pixels = [(100 * image).clamp(0, 255).byte() for image in inputs]
    set_random_seed(0)
    return model.data_preprocessor(dict(inputs=pixels, data_samples=samples), training=True)['data_samples']


@pytest.mark.parametrize('name', MIXING)
def test_captions_are_mixed_without_a_cache_too(make_classifier, name):
    model = make_classifier(data_preprocessor=mixing(name))
    samples = mixed_captions(model)
    spoken = F.one_hot(torch.tensor([4, 5, 4]), 6).float()
    expected = samples[0].metainfo['mixture'].mix_labels(spoken)
    torch.testing.assert_close(model.concept_labels(samples, torch.device('cpu'))[:, 4:], expected[:, 4:])


class Unknown(Mixup):
    """A batch augment that LFI does not know."""


def switched(model, augments):
    """The model after mmpretrain's hook has set other batch augments."""
    SwitchRecipeHook._switch_batch_augments(SimpleNamespace(model=model), augments)
    return model


@pytest.mark.parametrize('first', [None, 'Mixup'])
def test_batch_augments_that_a_hook_sets_are_recorded(make_classifier, first):
    start = dict(num_classes=CLASSES, to_onehot=True) if first is None else mixing(first)
    model = make_classifier(data_preprocessor=start)
    mixed_captions(model)
    samples = mixed_captions(switched(model, RandomBatchAugment(MIXING['CutMix'])))
    mixture = samples[0].metainfo['mixture']
    assert mixture.box is not None
    spoken = F.one_hot(torch.tensor([4, 5, 4]), 6).float()
    labels = model.concept_labels(samples, torch.device('cpu'))
    torch.testing.assert_close(labels[:, 4:], mixture.mix_labels(spoken)[:, 4:])
    samples = mixed_captions(switched(model, None))
    assert 'mixture' not in samples[0].metainfo and samples[0].gt_score.max() == 1
    assert model.concept_labels(samples, torch.device('cpu'))[:, 4:].equal(spoken[:, 4:])
    samples = mixed_captions(switched(model, RandomBatchAugment(Unknown(1.0))))
    with pytest.raises(ValueError, match='batch_augments has Unknown: .* gt_concepts are those of'):
        model.concept_labels(samples, torch.device('cpu'))


def test_a_cache_refuses_unknown_batch_augments_that_a_hook_sets(cached_model):
    _, images, samples, cached = cached_model
    model = switched(cached(data_preprocessor=mixing('Mixup')), RandomBatchAugment(Unknown(1.0)))
    with pytest.raises(ValueError, match='batch_augments has Unknown: .*teacher.cache=None'):
        mixed_batch(model, images, samples)
    switched(model, RandomBatchAugment(MIXING['CutMix']))
    assert mixed_batch(model, images, samples)['data_samples'][0].metainfo['mixture'].box is not None


def test_captions_that_are_mixed_in_unknown_ways_are_refused(make_classifier):
    augments = dict(augments=[Unknown(1.0)])
    model = make_classifier(data_preprocessor=dict(num_classes=CLASSES, batch_augments=augments))
    with pytest.raises(ValueError, match='batch_augments has Unknown: .* gt_concepts are those of'):
        model.concept_labels(mixed_captions(model), torch.device('cpu'))
    model.data_preprocessor = ClsDataPreprocessor(**NORMALISE, **mixing('Mixup'))
    with pytest.raises(ValueError, match="has Mixup: it is not recorded, .* in the student's config"):
        model.concept_labels(mixed_captions(model), torch.device('cpu'))


def test_maps_that_cannot_be_mixed_are_refused_before_training(cached_model, monkeypatch):
    _, _, _, cached = cached_model
    monkeypatch.setattr(CachedTeacher, 'directions', ('spatial',))
    with pytest.raises(ValueError, match='batch_augments .*teacher.cache=None'):
        cached(data_preprocessor=mixing('Mixup'), supervision=interactions(semantic_weight=0))
