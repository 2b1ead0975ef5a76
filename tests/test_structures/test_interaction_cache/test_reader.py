import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from lfi.structures import OTHER, pack
from lfi.structures.interaction_cache import (
    CacheError,
    CacheManifest,
    InteractionCache,
    checksum,
    image_keys,
)
from small_cache import PATHS, TEXTS, open_writer


def test_records_come_back_by_name_wherever_the_data_lie(folder, records, manifest):
    cache = InteractionCache(folder)
    assert cache.manifest.difference(manifest) is None
    np.testing.assert_array_equal(cache.text_embeddings, np.eye(2))
    order = [7, 0, 9, 9, 3]
    moved = [PATHS[i].replace('/data/set', 'elsewhere') for i in order]
    assert cache.read(moved).tobytes() == records[order].tobytes()


def test_an_unknown_image_is_named(folder):
    with pytest.raises(CacheError, match=r'has no maps of c/0.jpg: it was written for other data'):
        InteractionCache(folder).read([PATHS[0], 'c/0.jpg'])


def test_images_of_two_folders_are_not_taken_for_one(folder, records):
    cache = InteractionCache(folder)
    cache.read(PATHS)
    other = PATHS[3].replace('/data', '/elsewhere')
    with pytest.raises(CacheError, match=rf'last 2 parts of their paths, and {other} shares these with'):
        cache.read([PATHS[4], other])
    assert cache.read(['/data/./set/a/3.jpg']).tobytes() == records[3].tobytes()


def test_an_image_may_be_reached_by_a_link(folder, records, tmp_path):
    (tmp_path / 'data/set').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'data')
    cache = InteractionCache(folder)
    for root in (tmp_path / 'data', tmp_path / 'link'):
        assert cache.read([f'{root}/set/a/3.jpg']).tobytes() == records[3].tobytes()


def test_a_cache_that_was_read_serves_a_process_of_another_hash(folder, tmp_path):
    cache = InteractionCache(folder)
    cache.read(PATHS)
    (tmp_path / 'cache.pkl').write_bytes(pickle.dumps(cache))
    code = f'import pickle; pickle.load(open("cache.pkl", "rb")).read({PATHS!r})'
    env = {**os.environ, 'PYTHONHASHSEED': '1'}
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=env, check=True)


def test_records_are_memory_mapped(folder):
    cache = InteractionCache(folder)
    assert isinstance(cache.shard(0), np.memmap)
    assert not cache.shard(0).flags.writeable


@pytest.mark.parametrize('damage', ['cut', 'flip a bit', 'empty', 'remove'])
def test_a_damaged_shard_is_named_when_it_is_read_and_can_be_written_anew(folder, manifest, records, damage):
    path = folder / 'shard-00001.npy'
    content = bytearray(path.read_bytes())
    if damage == 'flip a bit':
        content[-5] ^= 1
    path.write_bytes(content[:-7] if damage == 'cut' else b'' if damage == 'empty' else content)
    if damage == 'remove':
        path.unlink()
    cache = InteractionCache(folder)
    cache.read(PATHS[:4])
    with pytest.raises(
        CacheError, match=r'shard-00001.npy is corrupted or was changed.*Remove shard-00001.blake2b'
    ):
        cache.read(PATHS[4:5])
    (folder / 'shard-00001.blake2b').unlink()
    open_writer(folder, manifest).write(1, records[4:8])
    assert InteractionCache(folder).read(PATHS).tobytes() == records.tobytes()


@pytest.mark.parametrize('name', ['keys.npy', 'texts.npy'])
def test_a_damaged_array_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-3])
    with pytest.raises(CacheError, match=f'{name} is missing or corrupted'):
        InteractionCache(folder)
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CacheError, match=f'{name} was changed: it does not match the manifest'):
        InteractionCache(folder)


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
    with pytest.raises(CacheError, match='does not hold the records that the manifest names'):
        InteractionCache(folder).read(PATHS)


@pytest.mark.parametrize('shape', [(), (2,), (2, 0), (3, 8), (2, 1, 8)])
def test_texts_that_are_not_those_of_the_concepts_are_refused(folder, shape):
    texts = np.ones(shape, np.float32)
    np.save(folder / 'texts.npy', texts)
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, 'texts': checksum(texts.tobytes())}))
    with pytest.raises(CacheError, match=r'texts\.npy has the shape .* and manifest\.json names 2 concepts'):
        InteractionCache(folder)


def rewrite(folder, name, field, array):
    """Another array of the folder, with its checksum."""
    np.save(folder / name, array)
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, field: checksum(array.tobytes())}))


@pytest.mark.parametrize('factor', [np.nan, 0, 2])
def test_texts_that_are_not_of_unit_length_are_refused(folder, factor):
    rewrite(folder, 'texts.npy', 'texts', TEXTS * np.array([[1], [factor]], np.float32))
    with pytest.raises(CacheError, match=r'texts\.npy has embeddings that are not of unit length'):
        InteractionCache(folder)


def test_an_image_that_has_two_records_is_refused(folder):
    rewrite(folder, 'keys.npy', 'data', image_keys([PATHS[0], *PATHS[:-1]], 2))
    with pytest.raises(CacheError, match=r'keys\.npy has an image twice'):
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
def test_records_of_no_maps_are_refused(folder, manifest, records, field, value):
    records[field][2, 0] = value
    open_writer(folder, manifest).write(0, records[:4])
    with pytest.raises(CacheError, match='its record 2 has logits that are not finite, or a presence'):
        InteractionCache(folder).read(PATHS[:1])


@pytest.mark.parametrize('shape', ['(0, 1' + 30 * '0' + ')', '(True,)', '(-1,)'])
def test_a_header_that_numpy_cannot_follow_is_refused(folder, shape):
    header = f"{{'descr': '<u8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b'\n'
    content = 8 * b'\0' if shape == '(True,)' else b''
    (folder / 'keys.npy').write_bytes(b'\x93NUMPY\1\0' + len(header).to_bytes(2, 'little') + header + content)
    with pytest.raises(CacheError, match=r'keys\.npy is missing or corrupted'):
        InteractionCache(folder)


@pytest.mark.parametrize('number', [2, 10**6, -2])
def test_a_map_of_no_concept_is_refused(tmp_path, make_maps, number):
    numbers = torch.tensor([[0, 1, OTHER]]).repeat(len(PATHS), 1)
    maps = make_maps(shape=(len(PATHS), 1, 3, 4, 4), concepts=numbers)
    manifest = CacheManifest.of(dict(concepts=['cat', 'dog']), image_keys(PATHS, 2), 2, TEXTS, maps)
    records, writer = pack(maps), open_writer(tmp_path, manifest)
    writer.write(0, records)
    assert InteractionCache(tmp_path).read(PATHS).tobytes() == records.tobytes()
    records['concepts'][3, 1] = number
    writer.write(0, records)
    with pytest.raises(CacheError, match=f'maps of concept {number}, but the cache has only 2'):
        InteractionCache(tmp_path).read(PATHS)


def test_the_size_is_that_of_the_caches_own_files(folder):
    size = sum(path.stat().st_size for path in folder.iterdir())
    (folder / 'dangling').symlink_to('nowhere')
    (folder / 'notes.txt').write_text('of others')
    assert InteractionCache(folder).num_bytes == size


@pytest.mark.parametrize('content', [b'', b'\xff\xfe'])
def test_a_checksum_that_is_none_is_named(folder, content):
    (folder / 'shard-00000.blake2b').write_bytes(content)
    with pytest.raises(CacheError, match=r'shard-00000\.blake2b is corrupted: .* rewrites this shard'):
        InteractionCache(folder).read(PATHS[:1])


@pytest.mark.parametrize('name', ['manifest.json', 'keys.npy', 'shard-00000.blake2b', 'shard-00000.npy'])
def test_a_link_to_a_file_without_size_is_not_read(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to('/proc/self/status')
    with pytest.raises(CacheError, match=f'{name} is (missing or )?corrupted'):
        InteractionCache(folder).read(PATHS[:1])
