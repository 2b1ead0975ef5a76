"""`CachedTeacher`, and what makes a teacher's maps what they are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers import (
    CachedTeacher,
    VLMAttentionTeacher,
    asked_concepts,
    maps_identity,
    maps_to_cache,
    teacher_identity,
)
from lfi.models.teachers.cached_teacher import open_cache
from lfi.registry import TEACHERS
from lfi.structures import BatchMixture, BatchView, PixelFormat, StudentGrid, Tiles
from lfi.structures.interaction_cache import CacheError, InteractionCache
from lfi.structures.mixed_maps import mix_maps
from written_cache import write_cache

PIXELS = PixelFormat((0.0,) * 3, (1.0,) * 3, True)
PATHS = [f'/data/{i}.jpg' for i in range(4)]


@pytest.fixture
def config(teacher_folder, monkeypatch):
    # A cache keeps 4 of 7 concepts.
    monkeypatch.setattr(asked_concepts, 'MIN_KEPT', 1)
    monkeypatch.setattr(asked_concepts, 'KEPT_FOR_ASKED', 4)
    return dict(
        type='lfi.VLMAttentionTeacher',
        model=teacher_folder('vit'),
        extractor=dict(type='maskclip'),
        concepts=['cat', 'dog', 'tree', 'car', 'sky', 'road', 'lamp'],
        max_concepts=1,
    )


def build(config):
    return VLMAttentionTeacher(**{k: v for k, v in config.items() if k != 'type'})


@pytest.fixture
def maps(config):
    images = torch.randn(len(PATHS), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return maps_to_cache(build(config), BatchView(images, PIXELS, [(32, 32)] * 4))


@pytest.fixture
def cache(config, maps, tmp_path):
    texts = build(config).text_embeddings.numpy()
    return write_cache(tmp_path / 'cache', maps_identity(config), PATHS, texts, maps, shard_size=3)


def test_its_maps_and_texts_are_the_teachers(cache, config, maps):
    teacher = CachedTeacher(cache, config)
    stored = [InteractionCache(cache).stored([path]) for path in PATHS[::-1]]
    cached = teacher.maps_of(stored, torch.device('cpu'))
    assert cached.concepts.equal(maps.concepts.flip(0))
    torch.testing.assert_close(cached.presence, maps.presence.flip(0), atol=1e-3, rtol=1e-3)
    extent = (maps.logits.amax((-2, -1)) - maps.logits.amin((-2, -1))).max()
    torch.testing.assert_close(cached.logits, maps.logits.flip(0), atol=extent.item() / 500, rtol=0)
    assert (cached.layers, cached.directions) == (maps.layers, maps.directions)
    torch.testing.assert_close(teacher.text_embeddings, build(config).text_embeddings)
    assert teacher.bank.names == tuple(config['concepts'])
    assert (teacher.max_concepts, teacher.presence_kind) == (1, None)


def batch_of(cache, labels, **fields):
    stored = [InteractionCache(cache).stored([path]) for path in PATHS]
    views = torch.eye(2, 3).expand(4, 2, 3)
    return BatchView(
        torch.zeros(4, 3, 8, 8), PIXELS, [(8, 8)] * 4, labels=labels, stored=stored, views=views, **fields
    )


@pytest.mark.parametrize('labelled', [False, True])
@pytest.mark.parametrize('background', [[], ['wall']])
@pytest.mark.parametrize('max_concepts', [1, 3, 6, 7, None])
def test_it_asks_about_the_concepts_that_the_online_teacher_asks_about(
    config, tmp_path, labelled, background, max_concepts
):
    config = {**config, 'background': background, 'max_concepts': max_concepts}
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    online = BatchView(images, PIXELS, [(32, 32)] * 4)
    maps = maps_to_cache(build(config), online)
    texts = build(config).text_embeddings.numpy()
    cache = write_cache(tmp_path / 'cache', maps_identity(config), PATHS, texts, maps)
    kept = maps.presence[:, :7].argsort(dim=1, descending=True) if maps.concepts is None else maps.concepts
    # The teacher ranks the label of an image third.
    labels = F.one_hot(kept[:, 2], 7 + len(background)).float() if labelled else None
    expected = build(config).ask(replace(online, labels=labels))
    found = CachedTeacher(cache, config).ask(batch_of(cache, labels))
    if max_concepts in (1, 3, 6):
        assert found.concepts.equal(expected.concepts)
        assert not labelled or (found.concepts[:, :max_concepts] == kept[:, 2:3]).any(1).all()
    if found.concepts is not None and max_concepts not in (1, 3, 6):
        # All are asked about, in any order, beside the background.
        expected, found = (each.gather(each.concepts.argsort(dim=1)) for each in (expected, found))
    torch.testing.assert_close(found.presence, expected.presence, atol=1e-6, rtol=1e-5)
    extent = (expected.logits.amax((-2, -1)) - expected.logits.amin((-2, -1))).max().item()
    torch.testing.assert_close(found.logits, expected.logits, atol=extent / 400, rtol=0)


def expanded(maps, concepts, num_texts):
    """The maps of concepts and of the rest in one image, from the maps of all texts, one by one."""
    own = maps.concepts[0].tolist()
    spread = maps.logits[0, :, own.index(-1)] - np.log(num_texts - len(own) + 1)
    every = [maps.logits[0, :, own.index(c)] if c in own else spread for c in range(num_texts)]
    presence = [maps.presence[0, own.index(c)] if c in own else torch.zeros(()) for c in concepts]
    rest = torch.stack([every[c] for c in range(num_texts) if c not in concepts]).logsumexp(0)
    return replace(
        maps,
        logits=torch.stack([*(every[c] for c in concepts), rest], 1)[None],
        presence=torch.stack([*presence, torch.zeros(())])[None],
        concepts=torch.tensor([[*concepts, -1]]),
    )


@pytest.mark.parametrize('mixing', [dict(share=0.25), dict(box=(0, 4, 2, 8))])
def test_the_label_of_a_picture_chooses_in_the_image_that_is_mixed_into_it(cache, config, maps, mixing):
    mixture = BatchMixture(torch.tensor([2, 0, 3, 1]), (8, 8), **mixing)
    # The teacher ranks the label of an image fourth.
    label = maps.concepts[:, 3]
    labels = mixture.mix_labels(F.one_hot(label, 7).float())
    teacher, grid = CachedTeacher(cache, config), StudentGrid((4, 4), (8, 8))
    teacher.max_concepts = 2
    batch = batch_of(cache, labels, mixture=mixture)
    found, kept = teacher.maps_in(batch, grid), teacher.stored_outputs(batch)
    other_share = torch.full((4, 4), 1 - mixing.get('share', 0))
    if 'box' in mixing:
        # Two rows and three columns of locations.
        other_share[2:], other_share[:, :1] = 0, 0
    share = torch.stack((1 - other_share, other_share))[None]
    for row, other in enumerate(mixture.other.tolist()):
        concepts = found.concepts[row, :2]
        assert {label[row].item(), label[other].item()} <= set(concepts.tolist())
        pair = [
            expanded(kept.take(torch.tensor([i])), concepts.tolist(), 7).resize((4, 4)) for i in (row, other)
        ]
        expected = mix_maps(pair, share)
        torch.testing.assert_close(found.logits[row], expected.logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('mixing', [dict(share=0.5), dict(box=(0, 4, 2, 8))])
def test_an_image_that_is_mixed_with_itself_stays_as_it_is(cache, config, mixing):
    teacher, grid = CachedTeacher(cache, {**config, 'max_concepts': 1}), StudentGrid((4, 4), (8, 8))
    alone = teacher.maps_in(batch_of(cache, None), grid)
    mixture = BatchMixture(torch.arange(4), (8, 8), **mixing)
    mixed = teacher.maps_in(batch_of(cache, None, mixture=mixture), grid)
    assert mixed.concepts.equal(alone.concepts)
    torch.testing.assert_close(mixed.semantic_log_probs(), alone.semantic_log_probs())


def test_maps_of_a_picture_do_not_depend_on_its_neighbours(cache, config):
    teacher, grid = CachedTeacher(cache, config), StudentGrid((4, 4), (8, 8))
    coverage = np.full((1, 4, 4), 255, np.uint8)
    coverage[0, 0] = 0
    tiles = [Tiles.whole(torch.eye(2, 3)) for _ in range(4)]
    tiles[0] = tiles[0]._replace(coverage=coverage)
    alone, beside = (
        teacher.maps_in(batch_of(cache, None, **fields), grid) for fields in ({}, dict(tiles=tiles))
    )
    assert beside.concepts.equal(alone.concepts)
    torch.testing.assert_close(beside.logits[1:], alone.logits[1:])


@pytest.mark.parametrize('value', [0, -1, 2.0, True, '5'])
def test_a_number_of_concepts_that_is_none_is_named(cache, config, value):
    with pytest.raises(ValueError, match='must be a whole number above 0, or None for all'):
        CachedTeacher(cache, {**config, 'max_concepts': value})


def test_a_teacher_class_with_a_default_of_its_own_has_it_in_the_cache(config, tmp_path, monkeypatch):
    class Own(VLMAttentionTeacher):
        def __init__(self, *args, max_concepts=2, **kwargs):
            super().__init__(*args, max_concepts=max_concepts, **kwargs)

    monkeypatch.setitem(TEACHERS.module_dict, 'OwnTeacher', Own)
    config = {name: value for name, value in config.items() if name not in ('type', 'max_concepts')}
    maps = maps_to_cache(Own(**config), BatchView(torch.randn(4, 3, 32, 32), PIXELS, [(32, 32)] * 4))
    config['type'] = 'OwnTeacher'
    texts = build(config).text_embeddings.numpy()
    cache = write_cache(tmp_path / 'own', maps_identity(config), PATHS, texts, maps)
    teacher = CachedTeacher(cache, config)
    assert teacher.max_concepts == 2 and teacher.ask(batch_of(cache, None)).concepts.shape == (4, 3)


def test_a_cache_of_all_maps_serves_any_number_of_concepts(config, tmp_path):
    config['max_concepts'] = None
    images = torch.randn(4, 3, 32, 32)
    maps = maps_to_cache(build(config), BatchView(images, PIXELS, [(32, 32)] * 4))
    cache = write_cache(
        tmp_path / 'all', maps_identity(config), PATHS, build(config).text_embeddings.numpy(), maps
    )
    for number in (2, 6, 7, 8):
        assert CachedTeacher(cache, {**config, 'max_concepts': number}).max_concepts in (number, None)
    with pytest.raises(CacheError, match='teacher.kept_concepts is None in the cache, 4 here'):
        CachedTeacher(cache, {**config, 'max_concepts': 1})


def test_records_of_another_cache_are_refused(cache, config):
    stored = [InteractionCache(cache).stored([path])._replace(cache_digest='other') for path in PATHS]
    with pytest.raises(CacheError, match='the pipeline reads another cache: give lfi.LoadInteractionMaps'):
        CachedTeacher(cache, config).maps_of(stored, torch.device('cpu'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(max_concepts=2), 'teacher.kept_concepts is 4 in the cache, None here'),
        (dict(extractor=dict(type='clearclip')), "teacher.extractor.type is 'maskclip' in the cache"),
        (dict(concepts=['cat', 'dog']), 'teacher.concepts has 7 entries in the cache, 2 here'),
        (dict(templates=['{}']), r"teacher.templates\[0\] is 'a photo of a {}.' in the cache, '{}' here"),
        (dict(input_size=64), 'teacher.input_size is None in the cache, 64 here'),
    ],
)
def test_another_teacher_is_refused_by_the_field_that_differs(cache, config, change, message):
    with pytest.raises(CacheError, match=f'does not fit the config: {message}'):
        CachedTeacher(cache, {**config, **change})


def test_swapped_weights_are_refused(cache, config, tmp_path):
    folder = tmp_path / 'other' / 'vit'
    shutil.copytree(config['model'], folder)
    CachedTeacher(cache, {**config, 'model': str(folder)})
    content = bytearray((folder / 'model.safetensors').read_bytes())
    content[-1] ^= 1
    (folder / 'model.safetensors').write_bytes(content)
    with pytest.raises(CacheError, match='does not fit the config: teacher.weights is'):
        CachedTeacher(cache, {**config, 'model': str(folder)})


def test_the_teachers_weights_need_not_be_at_hand(cache, config):
    CachedTeacher(cache, {**config, 'model': '/nowhere/vit'})
    with pytest.raises(CacheError, match="teacher.model is 'vit' in the cache, 'other' here"):
        CachedTeacher(cache, {**config, 'model': '/nowhere/other'})
    # Without the model's config nobody knows what 'auto' takes.
    CachedTeacher(cache, {**config, 'model': '/nowhere/vit', 'extractor': 'auto'})
    with pytest.raises(CacheError, match="extractor.type is 'maskclip' in the cache, 'clearclip' here"):
        CachedTeacher(cache, {**config, 'extractor': 'auto'})


@pytest.mark.parametrize('field', ['weights', 'extractor', 'background', 'templates', 'concepts'])
def test_a_cache_that_does_not_say_all_of_its_teacher_is_compared_by_the_rest(cache, config, field):
    file = Path(cache, 'manifest.json')
    manifest = json.loads(file.read_text())
    del manifest['teacher'][field]
    file.write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match=rf'teacher\.{field} is None in the cache'):
        CachedTeacher(cache, config)
    # Without the model at hand nobody knows the weights, nor what 'auto' takes.
    with pytest.raises(CacheError, match=r'does not fit the config: teacher\.\S+ is .* in the cache'):
        CachedTeacher(cache, {**config, 'model': '/nowhere/vit', 'extractor': 'auto'})


def test_the_identity_of_a_tag_needs_no_network():
    config = dict(model='ViT-B-16', pretrained='openai', extractor=dict(type='maskclip'), concepts=['cat'])
    identity = teacher_identity(config)
    assert (identity['model'], identity['pretrained'], identity['weights']) == ('ViT-B-16', 'openai', None)
    assert identity['templates'] == ['a photo of a {}.']


def test_a_weights_file_is_known_by_what_is_in_it(tmp_path):
    config = dict(model='ViT-B-16', extractor=dict(type='maskclip'), concepts=['cat'])
    for name in 'ab':
        np.save(tmp_path / f'{name}.npy', np.arange(3))
    first, second = (teacher_identity({**config, 'pretrained': str(tmp_path / f'{n}.npy')}) for n in 'ab')
    assert first == second
    assert first['weights'] is not None


def test_where_the_model_is_not_at_hand_its_patches_are_taken_on_trust(cache, config, tmp_path):
    gone = {**config, 'model': str(tmp_path / 'gone' / Path(config['model']).name)}
    open_cache(cache, maps_identity(gone))
    file = Path(cache, 'manifest.json')
    manifest = json.loads(file.read_text())
    manifest['teacher']['whole_patches'] = True
    file.write_text(json.dumps(manifest))
    open_cache(cache, maps_identity(gone))
    with pytest.raises(CacheError, match='teacher.whole_patches is True in the cache, None here'):
        open_cache(cache, maps_identity(config))


@pytest.mark.parametrize('count', [1, 7])
def test_records_of_another_number_of_maps_are_refused(cache, config, set_record_maps, count):
    set_record_maps(cache, count)
    with pytest.raises(CacheError, match=f'its records have {count} maps, but its text embeddings imply '):
        CachedTeacher(cache, config)
