import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from lfi.structures import OTHER, pack
from lfi.structures.interaction_cache import (
    CacheError,
    CacheManifest,
    InteractionCache,
    checksum,
)
from small_cache import PATHS, TEXTS, maps_in, open_writer, write_all
from written_cache import write_shard


def test_records_come_back_by_name_wherever_the_data_lie(folder, packed, manifest):
    cache = InteractionCache(folder)
    assert cache.manifest.difference(manifest) is None
    np.testing.assert_array_equal(cache.text_embeddings, np.eye(2))
    order = [7, 0, 9, 9, 3]
    moved = [PATHS[i].replace('/data/set', 'elsewhere') for i in order]
    assert maps_in(cache.read(moved), packed) == packed[order].tobytes()


def test_an_unknown_image_is_named(folder):
    with pytest.raises(CacheError, match=r'has no maps of c/0.jpg: it was written for other data'):
        InteractionCache(folder).read([PATHS[0], 'c/0.jpg'])


def test_a_view_that_the_cache_does_not_have_is_refused(folder):
    with pytest.raises(CacheError, match='has 1 views of an image, and no view 1'):
        InteractionCache(folder).read(PATHS[:2], [0, 1])


def test_a_cache_that_was_read_can_be_sent_to_a_worker(folder, packed):
    cache = InteractionCache(folder)
    cache.read(PATHS)
    assert maps_in(pickle.loads(pickle.dumps(cache)).read(PATHS), packed) == packed.tobytes()


@pytest.mark.parametrize('damage', ['cut', 'flip a bit', 'empty', 'remove'])
def test_a_damaged_shard_is_named_when_it_is_read_and_can_be_written_anew(folder, manifest, packed, damage):
    path = folder / 'shard-00001.safetensors'
    content = bytearray(path.read_bytes())
    if damage == 'flip a bit':
        # In the record of the last image.
        content[-40] ^= 1
    path.write_bytes(content[:-7] if damage == 'cut' else b'' if damage == 'empty' else content)
    if damage == 'remove':
        path.unlink()
    cache = InteractionCache(folder)
    cache.read(PATHS[:4])
    with pytest.raises(
        CacheError, match=r'shard-00001.safetensors is .*corrupted.*Remove shard-00001.safetensors and run'
    ):
        cache.read(PATHS[7:8])
    path.unlink(missing_ok=True)
    write_all(folder, manifest, packed)
    assert maps_in(InteractionCache(folder).read(PATHS), packed) == packed.tobytes()


def test_any_changed_byte_of_a_shard_is_found(folder, packed):
    path = folder / 'shard-00001.safetensors'
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.choice(len(content), 200, replace=False).tolist():
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        cache = InteractionCache(folder)
        try:
            found = maps_in(cache.read(PATHS[4:8]), packed)
            cache.verify_shard(cache.shard(1))
        except CacheError:
            continue
        # Spaces of the header, and names in it that nothing reads.
        assert found == packed[4:8].tobytes()
        assert place < 8 + int.from_bytes(content[:8], 'little')


def test_a_shard_of_another_cache_is_refused(folder, tmp_path, manifest, packed):
    write_all(tmp_path / 'other', replace(manifest, presence_kind='another'), packed)
    shutil.copy(tmp_path / 'other/shard-00001.safetensors', folder)
    with pytest.raises(CacheError, match=r'shard-00001.safetensors is a shard of another cache'):
        InteractionCache(folder).read(PATHS[4:5])


def test_shards_that_changed_places_are_refused(folder):
    a, b = folder / 'shard-00000.safetensors', folder / 'shard-00001.safetensors'
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)
    with pytest.raises(CacheError, match='the record of its image 0, view 0, does not match its checksum'):
        InteractionCache(folder).read(PATHS[:1])


def test_few_shards_are_open_at_once(folder, packed, monkeypatch):
    monkeypatch.setattr('lfi.structures.interaction_cache.reader.MAX_OPEN_SHARDS', 2)
    cache = InteractionCache(folder)
    for _ in range(2):
        assert maps_in(cache.read(PATHS), packed) == packed.tobytes()
        assert len(cache._shards) == 2


def test_damaged_texts_are_named(folder):
    content = (folder / 'texts.npy').read_bytes()
    (folder / 'texts.npy').write_bytes(content[:-3])
    with pytest.raises(CacheError, match='texts.npy is missing or corrupted'):
        InteractionCache(folder)
    (folder / 'texts.npy').write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CacheError, match='texts.npy was changed: it does not match the manifest'):
        InteractionCache(folder)


def test_a_changed_index_is_found(folder):
    entries = np.load(folder / 'index.npy')
    rows = entries['row'].copy()
    entries['row'] = np.roll(rows, 1)
    np.save(folder / 'index.npy', entries)
    with pytest.raises(CacheError, match='does not match its checksum'):
        InteractionCache(folder).read(PATHS[:1])
    entries['row'] = rows + 100
    np.save(folder / 'index.npy', entries)
    with pytest.raises(CacheError, match=r'index.npy is corrupted: it names the row'):
        InteractionCache(folder).read(PATHS[:1])


class Bomb:
    def __reduce__(self):
        return print, ('executed',)


def test_a_pickle_is_not_executed(folder, capsys):
    np.save(folder / 'texts.npy', np.array([Bomb()], dtype=object), allow_pickle=True)
    for content in ((folder / 'texts.npy').read_bytes(), pickle.dumps(Bomb())):
        (folder / 'texts.npy').write_bytes(content)
        with pytest.raises(CacheError, match='texts.npy is missing or corrupted'):
            InteractionCache(folder)
    assert 'executed' not in capsys.readouterr().out


def test_records_of_another_kind_are_refused(folder):
    content = json.loads((folder / 'manifest.json').read_text())
    content['record'].append(['concepts', '<i4', [3]])
    (folder / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(CacheError, match='its records are .*, and the manifest names'):
        InteractionCache(folder).read(PATHS)


@pytest.mark.parametrize('shape', [(), (2,), (2, 0), (3, 8), (2, 1, 8)])
def test_texts_that_are_not_those_of_the_concepts_are_refused(folder, shape):
    texts = np.ones(shape, np.float32)
    np.save(folder / 'texts.npy', texts)
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, 'texts': checksum(texts.tobytes())}))
    with pytest.raises(CacheError, match=r'texts\.npy has the shape .* and manifest\.json names 2 concepts'):
        InteractionCache(folder)


@pytest.mark.parametrize('factor', [np.nan, 0, 2])
def test_texts_that_are_not_of_unit_length_are_refused(folder, factor):
    texts = TEXTS * np.array([[1], [factor]], np.float32)
    np.save(folder / 'texts.npy', texts)
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, 'texts': checksum(texts.tobytes())}))
    with pytest.raises(CacheError, match=r'texts\.npy has embeddings that are not of unit length'):
        InteractionCache(folder)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('low', np.inf),
        ('step', np.nan),
        ('step', -1),
        ('presence', np.nan),
        ('presence', 2),
        ('presence', -1),
    ],
)
def test_records_of_no_maps_are_refused(folder, manifest, packed, field, value):
    packed[field][2, 0] = value
    write_shard(open_writer(folder, manifest), 0, PATHS, packed)
    with pytest.raises(CacheError, match='its image 2 has logits that are not finite, or a presence'):
        InteractionCache(folder).read(PATHS[2:3])


@pytest.mark.parametrize('shape', ['(0, 1' + 30 * '0' + ')', '(True,)', '(-1,)'])
def test_a_header_that_numpy_cannot_follow_is_refused(folder, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b'\n'
    content = 4 * b'\0' if shape == '(True,)' else b''
    (folder / 'texts.npy').write_bytes(
        b'\x93NUMPY\1\0' + len(header).to_bytes(2, 'little') + header + content
    )
    with pytest.raises(CacheError, match=r'texts\.npy is missing or corrupted'):
        InteractionCache(folder)


@pytest.mark.parametrize('number', [2, 10**6, -2])
def test_a_map_of_no_concept_is_refused(tmp_path, make_maps, number):
    numbers = torch.tensor([[0, 1, OTHER]]).repeat(len(PATHS), 1)
    maps = make_maps(shape=(len(PATHS), 1, 3, 4, 4), concepts=numbers)
    manifest = CacheManifest.of(dict(concepts=['cat', 'dog']), len(PATHS), 2, TEXTS, maps)
    packed = pack(maps)
    write_all(tmp_path, manifest, packed)
    assert maps_in(InteractionCache(tmp_path).read(PATHS), packed) == packed.tobytes()
    packed['concepts'][3, 1] = number
    write_shard(open_writer(tmp_path, manifest), 0, PATHS, packed)
    with pytest.raises(CacheError, match=f'maps of concept {number}, but the cache has only 2'):
        InteractionCache(tmp_path).read(PATHS)


def test_the_size_is_that_of_the_caches_own_files(folder):
    size = sum(path.stat().st_size for path in folder.iterdir())
    (folder / 'dangling').symlink_to('nowhere')
    (folder / 'notes.txt').write_text('of others')
    assert InteractionCache(folder).num_bytes == size


@pytest.mark.parametrize('name', ['manifest.json', 'index.npy', 'shard-00000.safetensors'])
def test_a_link_to_a_file_without_size_is_not_read(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to('/proc/self/status')
    with pytest.raises(CacheError, match=f'{name} is (missing or )?corrupted'):
        InteractionCache(folder).read(PATHS[:1])


def test_an_index_whose_blocks_do_not_fit_is_named(folder):
    entries = np.load(folder / 'index.npy')
    np.save(folder / 'index.npy', entries[::-1].copy())
    with pytest.raises(CacheError, match=r'index.npy is .*corrupted: its block 0 .*Remove it'):
        InteractionCache(folder).read(PATHS[:1])
