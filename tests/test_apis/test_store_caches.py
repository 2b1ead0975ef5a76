"""Caches of tar shards in an object store: several writers, their progress, and a training from the store."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lfi.apis.caching import cache_teacher, cache_teacher_by_ray, verify
from lfi.apis.caching.progress import cache_progress
from lfi.apis.caching.sidecar_writing import Share, pending_tars
from lfi.engine.config_loading import load_config
from lfi.engine.launch import prepare_run, prepare_training, run_training
from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, Shard
from lfi.structures.interaction_cache.shards import shard_bytes
from lfi.utils.stores import list_files, local_path, remove_file, write_file
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from tar_files import write_shapes_tars

from tools.dev.s3_store import BUCKET, s3_server

for package in ('webdataset', 's3fs', 'moto'):
    pytest.importorskip(package)
NAMES = ['manifest.json', 'texts.npy', *(f'train-{tar}.safetensors' for tar in range(3))]


@pytest.fixture(scope='module')
def tars(tmp_path_factory):
    return write_shapes_tars(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def shards(tars):
    """Addresses of the tar files in a store."""
    with s3_server():
        for tar in tars:
            write_file(f's3://{BUCKET}/data/{tar.name}', tar.read_bytes())
        yield [f's3://{BUCKET}/data/{tar.name}' for tar in tars]


@pytest.fixture(autouse=True)
def setting(monkeypatch, tmp_path):
    monkeypatch.setenv('LFI_COPIES', str(tmp_path / 'copies'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def config(config_path):
    """Build a config that trains on tar files for 20 steps."""

    def build(urls):
        cfg = load_config(config_path('classification/lfi_vit-128x6-p8_shapes.py'))
        loader = cfg.train_dataloader
        pipeline = [ConfigDict(type='LoadImageFromFile'), *loader.dataset.pipeline]
        data = dict(type='lfi.WebDataset', urls=urls, shuffle=0, pipeline=pipeline, _scope_='mmpretrain')
        loader.dataset = ConfigDict(data)
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        cfg.train_cfg = ConfigDict(by_epoch=False, max_iters=20, val_interval=100)
        cfg.param_scheduler = []
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.log_processor = ConfigDict(by_epoch=False)
        cfg.default_hooks.checkpoint = ConfigDict(type='CheckpointHook', by_epoch=False, interval=100)
        cfg.default_hooks.logger.interval = 1
        cfg.randomness = ConfigDict(seed=0)
        return cfg

    return build


@pytest.fixture
def local(config, tars, tmp_path):
    """Folder of the cache that one process writes from local files."""
    cache_teacher(config([str(tar) for tar in tars]), str(tmp_path / 'maps'), 4, 0)
    return tmp_path / 'maps'


@pytest.fixture
def out(request):
    return f's3://{BUCKET}/{request.node.name}'


def contents(out):
    return {name: local_path(f'{out}/{name}').read_bytes() for name in list_files(out)}


def losses_of(cfg, work_dir, cache):
    cfg.work_dir, cfg.model.teacher.cache = str(work_dir), str(cache)
    prepare_run(cfg)
    prepare_training(cfg)
    run_training(cfg)
    (file,) = Path(work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name.startswith('loss')} for row in rows]


def test_writers_that_do_not_know_each_other_write_what_one_process_writes(
    config, shards, tars, local, out, tmp_path
):
    cfg = config(shards)
    cache_teacher(cfg, out, 4, 0, share=Share(0, 2))
    progress = cache_progress(out, shards)
    assert (progress.done, progress.total, progress.failures) == (2, 3, {})
    assert '2 of 3 tar shards (66.7%)' in str(progress)
    cache_teacher(cfg, out, 4, 0, share=Share(1, 2))
    assert cache_progress(out, shards).done == 3
    whole = contents(out)
    assert sorted(whole) == NAMES
    assert whole == {path.name: path.read_bytes() for path in local.iterdir() if path.name in NAMES}
    # Again does what is missing, and only that.
    remove_file(f'{out}/train-1.safetensors')
    before = {name: entry.modified for name, entry in list_files(out).items()}
    # Workers are forks of a process that has a client of the store.
    cache_teacher(cfg, out, 4, 2)
    assert contents(out) == whole
    assert before.items() <= {name: entry.modified for name, entry in list_files(out).items()}.items()
    assert verify(cfg, out, 4, 0, 12)
    # A training learns the same from the store as from files.
    cfg.train_dataloader.num_workers = 1
    ours = losses_of(cfg, tmp_path / 'store', out)
    assert len(ours) == 20
    assert ours == losses_of(config([str(tar) for tar in tars]), tmp_path / 'files', local)


def test_sidecars_of_no_use_are_written_again(config, shards, local, out):
    """One of another manifest, a truncated one, and one with an image that could not be read."""
    cfg, folder = config(shards), out
    cache_teacher(cfg, folder, 4, 0)
    whole = contents(folder)
    writer = CacheWriter(folder, CacheManifest.read(folder), np.load(local / 'texts.npy'))
    other = replace(writer.manifest, teacher={**writer.manifest.teacher, 'weights': 'others'})
    shard = Shard(local / NAMES[2], writer.manifest)
    keys, records = (
        shard.keys(),
        np.concatenate([shard.record(i, key) for i, key in enumerate(shard.keys().tolist())]),
    )
    write_file(f'{folder}/{NAMES[2]}', shard_bytes(other, keys, records[:, None], []))
    write_file(f'{folder}/{NAMES[3]}', whole[NAMES[3]][:100])
    write_file(f'{folder}/{NAMES[4]}', shard_bytes(writer.manifest, keys, records[:, None], [0]))
    assert pending_tars(writer, shards) == shards
    for damaged in (b'', whole[NAMES[3]][:-1], whole[NAMES[3]] + b'0', b'\xff' * 100):
        write_file(f'{folder}/{NAMES[3]}', damaged)
        assert pending_tars(writer, shards) == shards
    cache_teacher(cfg, folder, 4, 0)
    assert contents(folder) == whole and not pending_tars(writer, shards)


def test_a_tar_that_fails_is_noted_and_the_others_are_written(config, shards, tars, out):
    broken = f's3://{BUCKET}/data/broken.tar'
    write_file(broken, tars[1].read_bytes()[:4000])
    # The first one is read for the format of the maps, too.
    urls = [broken, shards[0], shards[2]]
    cfg = config(urls)
    with pytest.raises(UsageError, match='broken.tar.*truncated.*run the command again'):
        cache_teacher(cfg, out, 4, 0)
    progress = cache_progress(out, urls)
    assert progress.done == 2 and list(progress.failures) == [broken]
    assert f'failed: {broken}: ' in str(progress)
    write_file(broken, tars[1].read_bytes())
    cache_teacher(cfg, out, 4, 0)
    progress = cache_progress(out, urls)
    assert progress.done == 3 and not progress.failures
    assert not [name for name in list_files(out) if name.endswith('failed.json')]


def test_a_missing_sidecar_is_named_in_training(config, shards, out, tmp_path):
    cfg = config(shards)
    cache_teacher(cfg, out, 4, 0)
    remove_file(f'{out}/train-0.safetensors')
    with pytest.raises(UsageError, match=f'{out}/train-0.safetensors is missing: run lfi cache again'):
        losses_of(cfg, tmp_path / 'run', out)


def test_drawn_views_are_read_from_a_store(config, shards, tars, out, tmp_path):
    cfg = config(shards)
    cache_teacher(cfg, out, 4, 0, views=3)
    local = tmp_path / 'views'
    cache_teacher(config([str(tar) for tar in tars]), str(local), 4, 0, views=3)
    ours = losses_of(cfg, tmp_path / 'store', out)
    assert ours == losses_of(config([str(tar) for tar in tars]), tmp_path / 'files', local)


def test_a_failure_that_is_mended_meanwhile_is_no_error(config, shards, out, monkeypatch):
    cache_teacher(config(shards[:2]), out, 4, 0)
    listed = list_files(out)
    listed['train-2.safetensors.failed.json'] = listed['manifest.json']
    monkeypatch.setattr('lfi.apis.caching.progress.list_files', lambda folder: listed)
    assert cache_progress(out, shards).failures == {}


def test_a_damaged_sidecar_is_named_by_its_address(config, shards, out, tmp_path):
    cfg = config(shards)
    cache_teacher(cfg, out, 4, 0)
    name = f'{out}/train-1.safetensors'
    content = bytearray(contents(out)['train-1.safetensors'])
    content[-1] ^= 1
    write_file(name, bytes(content))
    with pytest.raises(
        UsageError, match=f'{name} is corrupted .* Remove train-1.safetensors and run lfi cache'
    ):
        losses_of(cfg, tmp_path / 'run', out)


def test_a_later_writer_waits_for_the_manifest(config, shards, out, monkeypatch):
    monkeypatch.setattr('lfi.apis.caching.writing.MANIFEST_WAIT', 0.1)
    with pytest.raises(UsageError, match='has had no manifest for 0 minutes: the process of --rank 0'):
        cache_teacher(config(shards), out, 4, 0, share=Share(1, 2))
    assert list_files(out) == {}


def test_wildcards_find_the_shards_of_a_store(config, shards, out):
    cfg = config(f's3://{BUCKET}/data/train-*.tar')
    assert cache_teacher(cfg, out, 4, 0).address == out
    assert cache_progress(out, shards).done == 3


def test_a_stale_listing_costs_work_alone(config, shards, local, out, monkeypatch):
    cfg = config(shards)
    cache_teacher(cfg, out, 4, 0)
    listed = list_files(out)
    stale = {name: entry for name, entry in listed.items() if name != 'train-1.safetensors'}
    monkeypatch.setattr('lfi.apis.caching.sidecar_writing.list_files', lambda folder: stale)
    cache_teacher(cfg, out, 4, 0)
    monkeypatch.undo()
    assert list_files(out)['train-0.safetensors'] == listed['train-0.safetensors']
    assert contents(out) == {name: (local / name).read_bytes() for name in NAMES}


@pytest.mark.filterwarnings('ignore')
def test_a_ray_cluster_writes_what_one_process_writes(config, shards, local, out):
    pytest.importorskip('ray', reason='ray is not installed')
    cache_teacher_by_ray(config(shards), out, 'local', 4, 0)
    whole = {path.name: path.read_bytes() for path in local.iterdir() if path.name in NAMES}
    assert contents(out) == whole


def test_a_cluster_that_is_not_there_is_named_at_once(config, shards, out):
    pytest.importorskip('ray', reason='ray is not installed')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    for place in (address, f'ray://{address}'):
        with pytest.raises(UsageError, match=f'--ray {place}: nothing answers there .* is the head node up'):
            cache_teacher_by_ray(config(shards), out, place, 4, 0)


def test_an_address_with_a_signature_is_refused(config):
    with pytest.raises(UsageError, match='https://host/a.tar has a password or a query') as caught:
        cache_teacher(config(['https://me:word@host/a.tar?X-Signature=1']), 's3://a/b', 4, 0)
    assert ':word' not in str(caught.value) and 'Signature' not in str(caught.value)
