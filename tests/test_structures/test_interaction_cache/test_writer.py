import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from lfi.structures import missing_records
from lfi.structures.interaction_cache import (
    CacheError,
    CacheWriter,
    InteractionCache,
    Shard,
    checksum,
    image_keys,
    shard_file,
    shard_name,
)
from safetensors import safe_open
from safetensors.numpy import save
from small_cache import PATHS, TEXTS, maps_in, open_writer, write_all
from written_cache import write_shard

KEYS = image_keys(PATHS, 2)


def is_done(writer, shard):
    rows = writer.manifest.rows(shard)
    name = shard_name(shard)
    return writer.has_file(name) and writer.opened(name, KEYS[rows.start : rows.stop]) is not None


def test_an_image_that_could_not_be_read_is_named_until_it_has_maps(folder, manifest, packed):
    writer, holed = open_writer(folder, manifest), packed.copy()
    holed[6] = missing_records(1, holed.dtype)[0]
    write_shard(writer, 1, PATHS, holed)
    assert [Shard(shard_file(folder, shard), manifest).unreadable for shard in range(3)] == [[], [2], []]
    cache = InteractionCache(folder)
    assert maps_in(cache.read(PATHS[4:6]), packed) == packed[4:6].tobytes()
    with pytest.raises(CacheError, match=rf'has no maps of {PATHS[6]}: it could not be read'):
        cache.read(PATHS[5:8])
    with pytest.raises(CacheError, match='could not be read when .* adds what is readable'):
        InteractionCache(folder).read(PATHS[6:7])
    write_shard(writer, 1, PATHS, packed)
    assert maps_in(InteractionCache(folder).read(PATHS[6:7]), packed) == packed[6].tobytes()


def test_an_interrupted_writer_leaves_the_shard_as_it_was(folder, manifest, packed, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('lfi.utils.fileio.os.replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shard(open_writer(folder, manifest), 1, PATHS, packed[::-1])
    assert maps_in(InteractionCache(folder).read(PATHS), packed) == packed.tobytes()


def test_a_cache_without_an_index_is_unfinished(tmp_path, manifest, packed):
    writer = open_writer(tmp_path, manifest)
    write_shard(writer, 0, PATHS, packed)
    assert [is_done(writer, shard) for shard in range(3)] == [True, False, False]
    with pytest.raises(CacheError, match='is unfinished: it has no index'):
        InteractionCache(tmp_path)
    with pytest.raises(CacheError, match=r'shard-00001\.safetensors is missing or corrupted'):
        writer.finish()


def test_a_shard_of_other_images_is_refused(folder, manifest):
    with pytest.raises(CacheError, match=r'other data: shard-00000\.safetensors holds other images'):
        open_writer(folder, manifest).opened(shard_name(0), KEYS[1:5])


def test_two_images_of_one_key_are_refused(tmp_path, manifest, packed):
    with pytest.raises(CacheError, match='two images of the same key'):
        write_all(tmp_path, manifest, packed, [*PATHS[:-1], PATHS[0]])


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('num_images', 9, 'num_images is 10 in the cache, 9 here'),
        ('views', 2, 'views is 1 in the cache, 2 here'),
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


def other_texts(manifest, texts):
    return replace(manifest, texts=checksum(texts.tobytes())), texts


def test_texts_that_another_cpu_rounds_otherwise_are_the_same(folder, manifest):
    rounded, texts = other_texts(manifest, TEXTS + np.float32(3e-6))
    writer = CacheWriter(folder, rounded, texts)
    assert all(is_done(writer, shard) for shard in range(3))
    np.testing.assert_array_equal(InteractionCache(folder).text_embeddings, TEXTS)


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (TEXTS + np.float32([[0, 0], [0, 1e-2]]), "concept 'dog' .* differs by 0.01 from .* 0.0001"),
        (np.eye(3, dtype=np.float32), r'texts have the shape \(2, 2\) in the cache, \(3, 3\) here'),
    ],
)
def test_other_texts_are_other_maps(folder, manifest, texts, message):
    other, texts = other_texts(manifest, texts)
    with pytest.raises(CacheError, match=f'holds other maps: .*{message}'):
        CacheWriter(folder, other, texts)


def test_shards_without_a_manifest_are_not_taken_for_ones_own(folder, manifest):
    (folder / 'manifest.json').unlink()
    with pytest.raises(CacheError, match=r'has shards \(shard-00000\.safetensors\) but no manifest\.json'):
        open_writer(folder, manifest)
    assert not (folder / 'manifest.json').exists()


@pytest.mark.parametrize('name', ['index.npy', 'index-blocks.npy'])
def test_a_lost_index_is_written_again(folder, manifest, packed, name):
    (folder / name).unlink()
    with pytest.raises(CacheError, match='is unfinished: it has no index'):
        InteractionCache(folder)
    write_all(folder, manifest, packed)
    assert maps_in(InteractionCache(folder).read(PATHS), packed) == packed.tobytes()


@pytest.mark.parametrize('damage', ['remove', 'cut', 'other records', 'empty'])
def test_a_damaged_shard_is_not_done(folder, manifest, packed, damage):
    path = folder / 'shard-00001.safetensors'
    if damage == 'remove':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == 'other records':
        write_shard(open_writer(folder / 'other', replace(manifest, layers=(3, 4))), 1, PATHS, packed)
        shutil.copy(folder / 'other/shard-00001.safetensors', path)
    else:
        path.write_bytes(b'')
    writer = open_writer(folder, manifest)
    assert [is_done(writer, shard) for shard in range(3)] == [True, False, True]


@pytest.mark.parametrize('text', ['{', '[1, "a"]', '3', '[9]', '[-1]', '[true]', '[' * 100_000])
def test_a_damaged_list_of_unreadable_images_is_named(folder, manifest, text):
    path = folder / 'shard-00001.safetensors'
    with safe_open(path, 'numpy') as file:
        tensors = {name: file.get_tensor(name) for name in ('keys', 'records')}
        header = json.loads(file.metadata()['lfi.cache'])
    header['unreadable'] = '@'
    path.write_bytes(save(tensors, {'lfi.cache': json.dumps(header).replace('"@"', text)}))
    message = '(metadata have no header|`unreadable` is no list)'
    with pytest.raises(CacheError, match=rf'shard-00001.safetensors is .*corrupted: its {message}'):
        Shard(path, manifest)


def test_what_a_killed_writer_left_is_whole_or_written_anew(tmp_path, manifest, packed):
    manifest = replace(manifest, shard_size=1)
    rng = np.random.default_rng(0)
    started = time.monotonic()
    write_all(tmp_path / 'undisturbed', manifest, packed)
    whole = time.monotonic() - started
    fork = multiprocessing.get_context('fork')
    partly = 0
    for trial in range(200):
        # Where the machine does other work, few kills come between the first shard and the last.
        if trial >= 20 and partly > 2:
            break
        folder = tmp_path / str(trial)
        writer = fork.Process(target=write_all, args=(folder, manifest, packed))
        writer.start()
        time.sleep(rng.uniform(0, 1.5 * whole))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        done = {path.name: path.stat().st_mtime_ns for path in folder.glob('shard-*')}
        partly += 0 < len(done) < manifest.num_shards
        write_all(folder, manifest, packed)
        assert maps_in(InteractionCache(folder).read(PATHS), packed) == packed.tobytes()
        assert all((folder / name).stat().st_mtime_ns == written for name, written in done.items())
    assert partly > 2


def write_from(folder, manifest, packed, seed):
    """Write the missing shards in an order of one's own."""
    writer = open_writer(folder, manifest)
    for shard in np.random.default_rng(seed).permutation(manifest.num_shards).tolist():
        if not writer.has_file(shard_name(shard)):
            write_shard(writer, shard, PATHS, packed)


def test_thirty_writers_killed_at_random_lose_nothing(tmp_path, manifest, packed):
    manifest = replace(manifest, shard_size=1)
    open_writer(tmp_path, manifest)
    fork = multiprocessing.get_context('fork')
    writers = [fork.Process(target=write_from, args=(tmp_path, manifest, packed, seed)) for seed in range(30)]
    rng = np.random.default_rng(0)
    for writer in writers:
        writer.start()
        time.sleep(rng.uniform(0, 0.004))
        os.kill(writer.pid, signal.SIGKILL)
    for writer in writers:
        writer.join()
    for path in tmp_path.glob('shard-*'):
        Shard(path, manifest)
    write_all(tmp_path, manifest, packed)
    assert maps_in(InteractionCache(tmp_path).read(PATHS), packed) == packed.tobytes()
    cache = InteractionCache(tmp_path)
    cache.verify_shard(cache.shard(0))
