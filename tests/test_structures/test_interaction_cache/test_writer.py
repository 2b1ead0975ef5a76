import multiprocessing
import os
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
    checksum,
    image_keys,
)
from small_cache import PATHS, TEXTS, open_writer


def interrupt(*args):
    raise KeyboardInterrupt


def test_an_image_that_could_not_be_read_is_named_until_it_has_maps(folder, manifest, records, monkeypatch):
    writer, rows = open_writer(folder, manifest), manifest.rows(1)
    holed = records[rows.start : rows.stop].copy()
    holed[2] = missing_records(1, holed.dtype)[0]
    writer.write(1, holed)
    assert [writer.unreadable_images(shard) for shard in range(3)] == [[], [6], []]
    cache = InteractionCache(folder)
    np.testing.assert_array_equal(cache.read(PATHS[4:6]), records[4:6])
    with pytest.raises(CacheError, match=rf'has no maps of {PATHS[6]}: it could not be read'):
        cache.read(PATHS[5:8])
    with pytest.raises(CacheError, match='could not be read when .* adds what is readable'):
        InteractionCache(folder).read(PATHS[6:7])
    # What is written anew, and not to its end, is missing.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer._files, 'put', interrupt)
        writer.write(1, records[rows.start : rows.stop])
    assert not writer.is_done(1)
    writer.write(1, records[rows.start : rows.stop])
    assert writer.unreadable_images(1) == [] and InteractionCache(folder).read(PATHS[6:7]) == records[6]


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


def other_texts(manifest, texts):
    return replace(manifest, texts=checksum(texts.tobytes())), texts


def test_texts_that_another_cpu_rounds_otherwise_are_the_same(folder, manifest):
    rounded, texts = other_texts(manifest, TEXTS + np.float32(3e-6))
    writer = CacheWriter(folder, rounded, image_keys(PATHS, 2), texts)
    assert all(writer.is_done(shard) for shard in range(3))
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
        CacheWriter(folder, other, image_keys(PATHS, 2), texts)


def test_shards_without_a_manifest_are_not_taken_for_ones_own(folder, manifest):
    (folder / 'manifest.json').unlink()
    with pytest.raises(CacheError, match=r'has shards \(shard-00000\.blake2b\) but no manifest\.json'):
        open_writer(folder, manifest)
    assert not (folder / 'manifest.json').exists()


@pytest.mark.parametrize('content', [None, b'', b'cut'])
def test_keys_that_are_lost_are_written_again(folder, manifest, records, content):
    (folder / 'keys.npy').unlink() if content is None else (folder / 'keys.npy').write_bytes(content)
    with pytest.raises(CacheError, match='keys.npy is missing or corrupted'):
        InteractionCache(folder)
    open_writer(folder, manifest)
    assert InteractionCache(folder).read(PATHS).tobytes() == records.tobytes()


@pytest.mark.parametrize('damage', ['remove', 'cut', 'other records', 'empty checksum'])
def test_a_shard_that_is_not_whole_is_not_done(folder, manifest, records, damage):
    path = folder / 'shard-00001.npy'
    if damage == 'remove':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == 'other records':
        np.save(path, records[:3])
    else:
        (folder / 'shard-00001.blake2b').write_bytes(b'')
    writer = open_writer(folder, manifest)
    assert [writer.is_done(shard) for shard in range(3)] == [True, False, True]


@pytest.mark.parametrize('text', ['{', '[1, "a"]', '3', '[' * 100_000])
def test_a_damaged_list_of_unread_images_is_named(folder, manifest, text):
    (folder / 'shard-00001.unread.json').write_text(text)
    with pytest.raises(CacheError, match=r'unread\.json is corrupted: remove it and shard-00001\.blake2b'):
        open_writer(folder, manifest).unreadable_images(1)


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
