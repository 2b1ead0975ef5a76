import json
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.structures.interaction_cache import (
    CacheError,
    CacheManifest,
    InteractionCache,
    shard_size,
)
from small_cache import PATHS, TEXTS, open_writer


def test_what_presence_is_is_noted_and_decided_by_the_teacher(folder, manifest):
    noted = replace(manifest, presence_kind='softmax over the bank')
    open_writer(folder, noted)
    assert CacheManifest.read(folder).presence_kind is None
    (folder / 'manifest.json').write_text(json.dumps(noted.content()))
    assert CacheManifest.read(folder).content() == noted.content()
    open_writer(folder, manifest)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is corrupted, or no manifest'),
        ('{"version": 5, "teacher": {"pretrained": "\\ud800"}}', r"can't encode character '\\ud800'"),
        ('{"version": 6}', 'is corrupted, or no manifest'),
        ('[1, 2]', 'is corrupted, or no manifest'),
        ('null', 'is corrupted, or no manifest'),
        ('[' * 100_000, 'is corrupted, or no manifest'),
        (
            '{"version": 5}',
            r'has the format 5, .* lfi reads 6\. .*lfi cache with another folder',
        ),
    ],
)
def test_a_damaged_manifest_is_named(folder, text, message):
    (folder / 'manifest.json').write_text(text)
    with pytest.raises(CacheError, match=message):
        InteractionCache(folder)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('num_images', 'a', "num_images='a' must be an integer of at least 1"),
        ('num_images', 2.5, r'num_images=2\.5 must be an integer'),
        ('num_images', True, 'num_images=True must be an integer'),
        ('num_images', -1, 'num_images=-1 must be an integer of at least 1'),
        ('num_images', 9, r'index\.npy is .* it has the shape \(10,\), and must have \(9,\)'),
        ('shard_size', 0, 'shard_size=0 must be an integer of at least 1'),
        ('shard_size', -4, 'shard_size=-4 must be'),
        ('shard_size', None, 'shard_size=None must be'),
        ('name_parts', 0, 'name_parts=0 must be'),
        ('name_parts', '2', "name_parts='2' must be"),
        ('teacher', None, 'teacher=None must be an object'),
        ('teacher', dict(model=reduce(lambda inside, _: [inside], range(500), 1)), 'more than 64 deep'),
        ('teacher', dict(concepts=3), r'teacher\.concepts=3 must be a list of strings'),
        ('teacher', dict(background=[1]), r'teacher\.background=\[1\] must be a list of strings'),
        ('views', 0, 'views=0 must be an integer of at least 1'),
        ('recipe', 3, 'recipe=3 must be null or a list'),
        ('texts', None, 'texts=None must be a string'),
        ('presence_kind', True, 'presence_kind=True must be null or a text'),
        ('presence_kind', 'x' * 1001, 'presence_kind=.* must be null or a text'),
        ('layers', 3, 'layers=3 must be a list of integers'),
        ('layers', ['3'], r"layers=\['3'\] must be a list of integers"),
        ('directions', 'concepts', "directions='concepts' must be a list of strings"),
        ('layers', [], r'layers=\[\] must be 2 layers, as in record'),
        ('layers', [1, 2, 3], r'layers=\[1, 2, 3\] must be 2'),
        ('directions', [], r'directions=\[\] must be a non-empty part of'),
        ('directions', ['concepts', 'concepts'], r'directions=\[.*\] must be .*, each once'),
        ('directions', ['colours'], r"directions=\['colours'\] must be a non-empty part of"),
        ('record', None, 'record=None must be fields of packed maps'),
        ('record', [['logits', '|O', [2]]], 'record=.* must be fields of packed maps'),
        ('record', [['logits', 'x9', [2]]], 'record=.* must be fields of packed maps'),
        ('record', [['logits', '<f2', [-2]]], 'record=.* must be fields of packed maps'),
        ('record', [['logits', '<f2']], 'record=.* must be fields of packed maps'),
        ('colour', 1, r'its fields must be \[.*, not \[.*colour'),
    ],
)
def test_a_wrong_field_of_a_manifest_is_named(folder, field, value, message):
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, field: value}))
    with pytest.raises(CacheError, match=message):
        InteractionCache(folder)


LOGITS = ['logits', '|u1', [2, 3, 4, 4]]
OTHERS = [['low', '<f4', [2, 3]], ['step', '<f4', [2, 3]], ['presence', '<f4', [3]]]


@pytest.mark.parametrize(
    'record',
    [
        [],
        [LOGITS],
        [LOGITS, *OTHERS[1:]],
        [LOGITS, ['low', '<f4', []], *OTHERS[1:]],
        [LOGITS, ['low', '|S4', [2, 3]], *OTHERS[1:]],
        [LOGITS, *OTHERS[:2], ['presence', '<f4', [4]]],
        [LOGITS, *OTHERS, ['concepts', '<i4', [4]]],
        [LOGITS, *OTHERS, ['colours', '<i4', [3]]],
        [['logits', '|u1', [3]], *OTHERS],
        [['logits', '|u1', [2, 3, 0, 4]], *OTHERS],
        [['logits', '|S1', [2, 3, 4, 4]], *OTHERS],
        [['logits', [['logits', '|u1', [2]]], []]],
    ],
)
def test_a_record_that_is_none_of_packed_maps_is_refused(folder, record):
    content = json.loads((folder / 'manifest.json').read_text())
    assert content['record'] == [LOGITS, *OTHERS]
    (folder / 'manifest.json').write_text(json.dumps({**content, 'record': record}))
    with pytest.raises(CacheError, match='record=.* must be fields of packed maps'):
        InteractionCache(folder)


@pytest.mark.parametrize('name', ['x' * 200_000, 'cat\x1b[2J', 'cat\x85'])
@pytest.mark.parametrize('field', ['concepts', 'background'])
def test_concepts_are_plain_texts_where_a_cache_is_read_and_written(folder, maps, field, name):
    content = json.loads((folder / 'manifest.json').read_text())
    content['teacher'][field] = ['dog', name]
    (folder / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(CacheError, match=rf'teacher\.{field} has .* control character\. Write') as caught:
        InteractionCache(folder)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    with pytest.raises(CacheError, match=rf'teacher\.{field} has .*: rename it'):
        CacheManifest.of(content['teacher'], len(PATHS), 2, TEXTS, maps)


@pytest.mark.parametrize('field', ['teacher', 'num_images', 'record', 'presence_kind'])
def test_a_missing_field_of_a_manifest_is_named(folder, field):
    content = json.loads((folder / 'manifest.json').read_text())
    del content[field]
    (folder / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(CacheError, match=f"its fields must be .*'{field}'"):
        InteractionCache(folder)


def test_a_folder_without_a_manifest_is_no_cache(tmp_path):
    with pytest.raises(CacheError, match='is not a cache of interaction maps: it has no manifest.json'):
        InteractionCache(tmp_path)


@given(st.integers(1, 10**9), st.integers(1, 10**5))
def test_there_are_few_shards_and_small_ones(num_images, num_bytes):
    size = shard_size(num_images, num_bytes)
    assert size >= 256 and size & (size - 1) == 0
    assert size == 256 or size * num_bytes <= 2**26
    assert num_images <= 4096 * size or 2 * size * num_bytes > 2**26
