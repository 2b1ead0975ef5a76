import json
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.structures import pack, without_maps
from lfi.structures.interaction_cache import (
    CacheError,
    CacheManifest,
    CacheWriter,
    InteractionCache,
    checksum,
    keys_of,
    name_parts,
    shard_size,
)

PATHS = [f'/data/set/{split}/{i}.jpg' for split in 'ab' for i in range(5)]


TEXTS = np.eye(2, dtype=np.float32)


@pytest.fixture
def maps(make_maps):
    return make_maps(shape=(len(PATHS), 2, 3, 4, 4))


@pytest.fixture
def records(maps):
    return pack(maps)


@pytest.fixture
def manifest(maps):
    teacher = dict(model='vit', concepts=['cat', 'dog'], weights='abc')
    return replace(CacheManifest.of(teacher, keys_of(PATHS, 2), 2, TEXTS, maps), shard_size=4)


def open_writer(folder, manifest):
    return CacheWriter(folder, manifest, keys_of(PATHS, 2), TEXTS)


@pytest.fixture
def folder(tmp_path, manifest, records):
    writer = open_writer(tmp_path / 'cache', manifest)
    for shard in range(manifest.num_shards):
        writer.write(shard, records[manifest.rows(shard).start : manifest.rows(shard).stop])
    return tmp_path / 'cache'


def test_records_come_back_by_name_wherever_the_data_lie(folder, records, manifest):
    cache = InteractionCache(folder)
    assert cache.manifest.difference(manifest) is None
    np.testing.assert_array_equal(cache.texts, np.eye(2))
    order = [7, 0, 9, 9, 3]
    moved = [PATHS[i].replace('/data/set', 'elsewhere') for i in order]
    assert cache.read(moved).tobytes() == records[order].tobytes()


def interrupt(*args):
    raise KeyboardInterrupt


def test_an_image_that_could_not_be_read_is_named_until_it_has_maps(folder, manifest, records, monkeypatch):
    writer, rows = open_writer(folder, manifest), manifest.rows(1)
    holed = records[rows.start : rows.stop].copy()
    holed[2] = without_maps(1, holed.dtype)[0]
    writer.write(1, holed)
    assert [writer.unread(shard) for shard in range(3)] == [[], [6], []]
    cache = InteractionCache(folder)
    np.testing.assert_array_equal(cache.read(PATHS[4:6]), records[4:6])
    with pytest.raises(CacheError, match=rf'has no maps of {PATHS[6]}: it could not be read'):
        cache.read(PATHS[5:8])
    # lfi 0.1 left zeros.
    zeros = holed.copy()
    zeros[2] = np.zeros((), zeros.dtype)
    writer.write(1, zeros)
    with pytest.raises(CacheError, match=r'could not be read when .* Remove shard-00001.blake2b and run'):
        InteractionCache(folder).read(PATHS[6:7])
    # What is written anew, and not to its end, is missing.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer._files, 'put', interrupt)
        writer.write(1, records[rows.start : rows.stop])
    assert not writer.is_done(1)
    writer.write(1, records[rows.start : rows.stop])
    assert writer.unread(1) == [] and InteractionCache(folder).read(PATHS[6:7]) == records[6]


def test_an_unknown_image_is_named(folder):
    with pytest.raises(CacheError, match=r'has no maps of c/0.jpg: it was written for other data'):
        InteractionCache(folder).read([PATHS[0], 'c/0.jpg'])


def test_images_of_two_folders_are_not_taken_for_one(folder, records):
    cache = InteractionCache(folder)
    cache.read(PATHS)
    other = PATHS[3].replace('/data', '/elsewhere')
    with pytest.raises(CacheError, match=rf'last 2 parts of their paths, and {other} has the same ones'):
        cache.read([PATHS[4], other])
    assert cache.read(['/data/./set/a/3.jpg']).tobytes() == records[3].tobytes()


def test_an_image_may_be_reached_by_a_link(folder, records, tmp_path):
    (tmp_path / 'data/set').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'data')
    cache = InteractionCache(folder)
    for root in (tmp_path / 'data', tmp_path / 'link'):
        assert cache.read([f'{root}/set/a/3.jpg']).tobytes() == records[3].tobytes()


def test_records_are_memory_mapped(folder):
    cache = InteractionCache(folder)
    assert isinstance(cache.shard(0), np.memmap)
    assert not cache.shard(0).flags.writeable


# ---- writing --------------------------------------------------------------------------------------------


def test_what_is_written_is_kept(folder, manifest):
    (folder / 'shard-00001.blake2b').unlink()
    writer = open_writer(folder, manifest)
    assert [writer.is_done(shard) for shard in range(3)] == [True, False, True]
    with pytest.raises(CacheError, match='is unfinished: 1 of 3 shards are missing, the first is 1'):
        InteractionCache(folder)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('data', '456', "data is '[0-9a-f]+' in the cache, '456' here"),
        ('layers', (3,), 'layers has 2 entries in the cache, 1 here'),
        (
            'teacher',
            dict(model='vit', concepts=['cat', 'cow'], weights='abc'),
            r"teacher.concepts\[1\] is 'dog'",
        ),
        (
            'teacher',
            dict(model='vit', concepts=['cat', 'dog']),
            "teacher.weights is 'abc' in the cache, None",
        ),
    ],
)
def test_a_folder_of_other_maps_is_left_alone(folder, manifest, field, value, message):
    other = replace(manifest, **{field: value})
    with pytest.raises(CacheError, match=f'holds other maps: {message}'):
        open_writer(folder, other)
    InteractionCache(folder)


def test_labels_are_noted_where_they_choose_and_a_manifest_without_them_is_read(folder, manifest):
    noted = replace(manifest, labels='known')
    assert (noted.content()['labels'], 'labels' in manifest.content()) == ('known', False)
    assert CacheManifest.read(folder).content() == manifest.content()
    with pytest.raises(CacheError, match="labels is None in the cache, 'known' here"):
        open_writer(folder, noted)
    (folder / 'manifest.json').write_text(json.dumps(noted.content()))
    assert CacheManifest.read(folder).labels == 'known'


def other_texts(manifest, texts):
    return replace(manifest, texts=checksum(texts.tobytes())), texts


def test_texts_that_another_cpu_rounds_otherwise_are_the_same(folder, manifest):
    rounded, texts = other_texts(manifest, TEXTS + np.float32(3e-6))
    writer = CacheWriter(folder, rounded, keys_of(PATHS, 2), texts)
    assert all(writer.is_done(shard) for shard in range(3))
    np.testing.assert_array_equal(InteractionCache(folder).texts, TEXTS)


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (TEXTS + np.float32([[0, 0], [0, 1e-2]]), "concept 'dog' in the cache is 0.01 away from .* 0.0001"),
        (np.eye(3, dtype=np.float32), r'texts have the shape \(2, 2\) in the cache, \(3, 3\) here'),
    ],
)
def test_other_texts_are_other_maps(folder, manifest, texts, message):
    other, texts = other_texts(manifest, texts)
    with pytest.raises(CacheError, match=f'holds other maps: .*{message}'):
        CacheWriter(folder, other, keys_of(PATHS, 2), texts)


# ---- what is corrupted, foreign or hostile -----------------------------------------------------------------


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


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is corrupted, or no manifest'),
        ('{"version": 3}', 'is corrupted, or no manifest'),
        ('[1, 2]', 'is corrupted, or no manifest'),
        ('null', 'is corrupted, or no manifest'),
        ('[' * 100_000, 'is corrupted, or no manifest'),
        ('{"version": 2}', 'has the format 2, this version of lfi reads 3: .*cache_teacher.py'),
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
        ('num_images', 0, 'num_images=0 must be an integer of at least 1'),
        ('num_images', 9, r'keys\.npy has the shape \(10,\), and manifest\.json num_images=9'),
        ('shard_size', 0, 'shard_size=0 must be an integer of at least 1'),
        ('shard_size', -4, 'shard_size=-4 must be'),
        ('shard_size', None, 'shard_size=None must be'),
        ('name_parts', 0, 'name_parts=0 must be'),
        ('name_parts', '2', "name_parts='2' must be"),
        ('teacher', None, 'teacher=None must be an object'),
        ('teacher', dict(concepts=3), r'teacher\.concepts=3 must be a list of strings'),
        ('teacher', dict(background=[1]), r'teacher\.background=\[1\] must be a list of strings'),
        ('data', 1, 'data=1 must be a string'),
        ('texts', None, 'texts=None must be a string'),
        ('labels', 3, 'labels=3 must be a string'),
        ('layers', 3, 'layers=3 must be a list of integers'),
        ('layers', ['3'], r"layers=\['3'\] must be a list of integers"),
        ('directions', 'concepts', "directions='concepts' must be a list of strings"),
        ('record', None, 'record=None must be fields of numbers'),
        ('record', [['logits', '|O', [2]]], 'record=.* must be fields of numbers'),
        ('record', [['logits', 'x9', [2]]], 'record=.* must be fields of numbers'),
        ('record', [['logits', '<f2', [-2]]], 'record=.* must be fields of numbers'),
        ('record', [['logits', '<f2']], 'record=.* must be fields of numbers'),
        ('colour', 1, r'its fields must be \[.*, not \[.*colour'),
    ],
)
def test_a_wrong_field_of_a_manifest_is_named(folder, field, value, message):
    content = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**content, field: value}))
    with pytest.raises(CacheError, match=message):
        InteractionCache(folder)


@pytest.mark.parametrize('field', ['teacher', 'num_images', 'record'])
def test_a_missing_field_of_a_manifest_is_named(folder, field):
    content = json.loads((folder / 'manifest.json').read_text())
    del content[field]
    (folder / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(CacheError, match=f"its fields must be .*'{field}'"):
        InteractionCache(folder)


def test_a_folder_without_a_manifest_is_no_cache(tmp_path):
    with pytest.raises(CacheError, match='is no cache of interaction maps: it has no manifest.json'):
        InteractionCache(tmp_path)


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
    content['record'] = content['record'][:-1]
    (folder / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(CacheError, match='does not hold the records that the manifest names'):
        InteractionCache(folder).read(PATHS)


# ---- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('paths', 'parts'),
    [
        (['/r/a/1.jpg', '/r/a/2.jpg'], 2),
        (['/r/a/1.jpg', '/r/b/1.jpg'], 2),
        (['/r/x/a/1.jpg', '/r/y/a/1.jpg'], 3),
        (['1.jpg', '2.jpg'], 2),
    ],
)
def test_as_few_parts_of_a_path_as_tell_the_images_apart(paths, parts):
    assert name_parts(paths) == parts
    assert len(set(keys_of(paths, parts).tolist())) == len(paths)


def test_an_image_that_comes_twice_is_refused():
    with pytest.raises(CacheError, match='an image comes twice'):
        name_parts(['a/1.jpg', 'a/1.jpg'])


@given(st.integers(1, 10**7))
def test_there_are_few_shards_and_small_ones(num_images):
    size = shard_size(num_images)
    assert -(-num_images // size) <= 256
    assert size <= max(256, num_images // 256 + 1)


# ---- killed at any moment ------------------------------------------------------------------------------


def write_all(folder, manifest, records):
    writer = open_writer(folder, manifest)
    for shard in range(manifest.num_shards):
        if not writer.is_done(shard):
            writer.write(shard, records[manifest.rows(shard).start : manifest.rows(shard).stop])


def test_what_a_killed_writer_left_is_whole_or_written_anew(tmp_path, manifest, records):
    manifest = replace(manifest, shard_size=1)
    rng = np.random.default_rng(0)
    started = time.monotonic()
    write_all(tmp_path / 'undisturbed', manifest, records)
    whole = time.monotonic() - started
    fork = multiprocessing.get_context('fork')
    partly = 0
    for trial in range(200):
        # Where the machine does other work, few kills come between the first shard and the last.
        if trial >= 20 and partly > 2:
            break
        folder = tmp_path / str(trial)
        writer = fork.Process(target=write_all, args=(folder, manifest, records))
        writer.start()
        time.sleep(rng.uniform(0, 1.5 * whole))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        done = {path.name: path.stat().st_mtime_ns for path in folder.glob('*.blake2b')}
        partly += 0 < len(done) < manifest.num_shards
        write_all(folder, manifest, records)
        assert InteractionCache(folder).read(PATHS).tobytes() == records.tobytes()
        assert all((folder / name).stat().st_mtime_ns == written for name, written in done.items())
    assert partly > 2
