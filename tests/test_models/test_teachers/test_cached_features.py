"""`CachedFeatures`: a CNN teacher's features of unaugmented images, seen in each view."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers import (
    CachedFeatures,
    CachedTeacher,
    VLMAttentionTeacher,
    feature_identity,
    features_to_cache,
)
from lfi.structures import BatchMixture, BatchView, PixelFormat, StudentGrid, Tiles
from lfi.structures.interaction_cache import (
    CacheError,
    InteractionCache,
)
from written_cache import write_cache

PATHS = [f'/data/{i}.jpg' for i in range(3)]
WHOLE = torch.eye(2, 3).expand(3, 2, 3)
PIXELS = PixelFormat((0.0,) * 3, (1.0,) * 3, True)


@pytest.fixture
def config(teacher_folder):
    return dict(
        type='lfi.VLMAttentionTeacher',
        model=teacher_folder('cnn_test_resnet'),
        extractor=dict(type='dense'),
        concepts=['cat', 'dog', 'tree', 'car', 'sky'],
        input_size=128,
    )


@pytest.fixture
def teacher(config):
    return VLMAttentionTeacher(**{k: v for k, v in config.items() if k != 'type'})


@pytest.fixture
def images():
    return torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def cache(config, teacher, images, tmp_path):
    maps = teacher.features(images, PIXELS).as_maps(teacher.logit_scale)
    texts = teacher.text_embeddings.numpy()
    return write_cache(tmp_path / 'cache', feature_identity(config), PATHS, texts, maps)


def ask(cache, config, views, grid, mixture=None, tiles=None):
    stored = [InteractionCache(cache).stored([path]) for path in PATHS]
    batch = BatchView(
        torch.zeros(3, 3, 8, 8),
        PIXELS,
        [(8, 8)] * 3,
        stored=stored,
        views=views,
        tiles=tiles,
        mixture=mixture,
    )
    return CachedFeatures(cache, config).features_in(batch, StudentGrid(grid, (8, 8)))


def test_whole_images_have_the_teachers_features(cache, config, teacher, images):
    features = teacher.features(images, PIXELS)
    seen = ask(cache, config, WHOLE, tuple(features.locations.shape[-2:]))
    assert F.cosine_similarity(seen.pooled, features.pooled).min() > 0.9999
    # Half a step of 1/255 of a channel's range, of scores that go up to the scale.
    torch.testing.assert_close(seen.scores, features.scores, atol=0.01 * teacher.logit_scale, rtol=0)
    # Training may go on online: lfi.DenseFeatures standardises both by the same statistics.
    torch.testing.assert_close(seen.locations, features.locations, atol=0.02, rtol=0)
    assert seen.locations.mean((-2, -1)).norm(dim=1).sub(1).abs().max() < 1e-3
    unit, wanted = (F.normalize(x.locations, dim=1) for x in (seen, features))
    assert (unit * wanted).sum(1).min() > 0.999


def test_a_view_is_the_mean_of_the_locations_that_it_shows(cache, config, teacher, images):
    locations = teacher.features(images, PIXELS).locations
    h, w = locations.shape[-2:]
    assert (h, w) == (4, 4)
    left_half = torch.tensor([[0.5, 0, -0.5], [0, 1, 0]]).expand(3, 2, 3)
    seen = ask(cache, config, left_half, (4, 2))
    wanted = F.normalize(locations[..., :2].mean((-2, -1)), dim=1)
    assert F.cosine_similarity(seen.pooled, wanted).min() > 0.999
    torch.testing.assert_close(
        seen.scores,
        teacher.logit_scale * wanted @ teacher.text_embeddings.T,
        atol=0.01 * teacher.logit_scale,
        rtol=0,
    )


@pytest.mark.parametrize('angle', [0.0, 0.2])
def test_filler_in_a_picture_is_refused(cache, config, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    shift = 0.0 if angle else 0.5
    view = torch.tensor([[cos, -sin, shift], [sin, cos, 0]], dtype=torch.float).expand(3, 2, 3)
    tiles = [Tiles.whole(one) for one in view]
    with pytest.raises(CacheError, match='shows filler, for which the cache has no features: remove'):
        ask(cache, config, view, (8, 8), tiles=tiles)
    # On a coarse grid no location shows more of it than of the image.
    slight = torch.tensor([[1.0, 0, 0.1], [0, 1, 0]]).expand(3, 2, 3)
    features = ask(cache, config, slight, (4, 4), tiles=[Tiles.whole(one) for one in slight])
    assert features.locations.isfinite().all()


def test_features_stand_in_the_window_that_shows_the_image(cache, config):
    # The image fills all but the right quarter of a location, of four in a row.
    window = torch.tensor([[[0.0, 15 / 16], [0, 1]]])
    tiles = [Tiles(window, torch.eye(2, 3)[None], (1.0,))] * 3
    expected = torch.tensor([[16 / 15, 0, 1 / 15], [0, 1, 0]]).expand(3, 2, 3)
    for mixture in (None, BatchMixture(torch.arange(3), (8, 8), share=1.0)):
        features = ask(cache, config, WHOLE, (4, 4), mixture=mixture, tiles=tiles)
        beside = ask(cache, config, expected, (4, 4))
        torch.testing.assert_close(
            features.locations[..., :3], beside.locations[..., :3], rtol=1e-3, atol=1e-3
        )
        assert (features.locations - ask(cache, config, WHOLE, (4, 4)).locations).abs().max() > 3e-3
    # In its box ResizeMix would join the margins of two images.
    mixture = BatchMixture(torch.arange(3), (8, 8), box=(0, 8, 0, 4), resized=True)
    with pytest.raises(CacheError, match='shows filler'):
        ask(cache, config, WHOLE, (4, 4), mixture=mixture, tiles=tiles)


def test_features_of_mosaics_are_refused(cache, config):
    halves = torch.tensor([[[0.0, 0.5], [0, 1]], [[0.5, 1], [0, 1]]])
    tiles = [Tiles(halves, torch.eye(2, 3).repeat(2, 1, 1), (1.0, 1.0))] * 3
    with pytest.raises(CacheError, match='cached features do not support mosaics'):
        ask(cache, config, WHOLE, (4, 4), tiles=tiles)


def test_scores_do_not_lose_digits_in_mixed_precision(cache, config):
    plain = ask(cache, config, WHOLE, (4, 4))
    with torch.autocast('cpu', torch.bfloat16):
        mixed = ask(cache, config, WHOLE, (4, 4))
    torch.testing.assert_close(mixed.scores, plain.scores, atol=1e-3, rtol=1e-4)


def test_mixed_images_have_mixed_features(cache, config, teacher, images):
    plain = ask(cache, config, WHOLE, (4, 4))
    mixture = BatchMixture(torch.tensor([2, 0, 1]), (8, 8), share=0.25, box=(0, 8, 4, 8))
    seen = ask(cache, config, WHOLE, (4, 4), mixture)
    expected = plain.locations.clone()
    expected[..., 2:] = 0.25 * expected[..., 2:] + 0.75 * plain.locations[[2, 0, 1]][..., 2:]
    # Each image is scaled by its own stored length, which is rounded.
    torch.testing.assert_close(seen.locations, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(seen.pooled, F.normalize(expected.mean((-2, -1)), dim=1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('max_concepts', [None, 2])
def test_its_maps_are_those_of_a_cache_of_maps(config, images, tmp_path, max_concepts):
    config['max_concepts'] = max_concepts
    config['background'] = ['grass']
    teacher = VLMAttentionTeacher(**{k: v for k, v in config.items() if k != 'type'})
    labels = torch.eye(3, 6)
    batch = BatchView(images, PIXELS, [(128, 128)] * 3, labels=labels)
    asked = teacher(images, PIXELS, labels)
    features = features_to_cache(teacher, batch)
    texts = teacher.text_embeddings.numpy()
    write_cache(tmp_path / 'cache', feature_identity(config), PATHS, texts, features)
    stored = [InteractionCache(tmp_path / 'cache').stored([path]) for path in PATHS]
    cached = CachedFeatures(str(tmp_path / 'cache'), config)
    assert cached.directions == teacher.directions
    maps = cached.ask(replace(batch, stored=stored, views=WHOLE))
    assert torch.equal(maps.concepts, asked.concepts)
    # As exact as the bytes in which features are kept.
    torch.testing.assert_close(maps.logits, asked.logits, atol=0.03 * teacher.logit_scale, rtol=0)
    torch.testing.assert_close(maps.presence, asked.presence, atol=0.02, rtol=0)


def test_features_of_a_teacher_with_a_bias_are_not_cached(teacher, images):
    teacher.logit_bias = -10.0
    with pytest.raises(ValueError, match='features of this teacher cannot be cached: its presence .sigmoid'):
        features_to_cache(teacher, BatchView(images, PIXELS, [(128, 128)] * 3))


def test_maps_are_no_features(cache, config, teacher, images, tmp_path):
    with pytest.raises(CacheError, match=r"teacher\.kept is 'features' in the cache, None here"):
        CachedTeacher(cache, config)
    np.testing.assert_array_equal(CachedFeatures(cache, config).text_embeddings, teacher.text_embeddings)
    with pytest.raises(CacheError, match=r'teacher\.input_size is 128 in the cache, 64 here'):
        CachedFeatures(cache, {**config, 'input_size': 64})


def test_features_whose_mean_is_not_the_embedding_are_refused(config, teacher_folder, images):
    vit = {**config, 'model': teacher_folder('vit'), 'extractor': dict(type='maskclip'), 'input_size': 32}
    teacher = VLMAttentionTeacher(**{k: v for k, v in vit.items() if k != 'type'})
    with pytest.raises(ValueError, match=r'the features cannot be cached: the mean .*extractor .dense'):
        teacher.features(images, PIXELS).as_maps(teacher.logit_scale)


@pytest.mark.parametrize('length', [0.5, 0.998, 1.002, 2.0])
def test_features_whose_mean_is_not_of_unit_length_are_refused(teacher, images, length):
    """A cache stores the scale of the scores as this length, and so would stretch the locations."""
    features = teacher.features(images, PIXELS)
    lengths = features.locations.double().mean((-2, -1)).square().sum(1).sqrt()
    assert lengths.tolist() == pytest.approx([1] * 3, abs=1e-5)
    locations = torch.cat([features.locations[:2], length * features.locations[2:]])
    message = f'cannot be cached: .* has the length {length:.3f}, .*train with teacher.cache=None'
    with pytest.raises(ValueError, match=message):
        replace(features, locations=locations).as_maps(teacher.logit_scale)


@pytest.mark.parametrize('count', [1, 7])
def test_records_of_another_number_of_channels_are_refused(cache, config, set_record_maps, count):
    set_record_maps(cache, count)
    with pytest.raises(CacheError, match=f'its records have {count} maps, but its text embeddings imply '):
        CachedFeatures(cache, config)
