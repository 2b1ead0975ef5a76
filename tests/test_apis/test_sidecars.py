"""Sidecars of tar shards: their maps are the teacher's, training is as on a folder, and faults are named."""

import json

import pytest
import torch
from lfi.apis.caching import cache_cost, cache_teacher, cost, verify
from lfi.apis.caching.sidecar_writing import TarJob
from lfi.datasets.tar_shards import read_samples
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.config_loading import load_config
from lfi.engine.launch import prepare_run, prepare_training, run_training
from lfi.errors import UsageError
from lfi.structures import BatchView, is_unlabelled, unpack
from lfi.structures.interaction_cache import InteractionCache
from lfi.unreadable import Unreadable
from lfi.utils.stores import list_files
from mmcv.transforms import LoadImageFromFile
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, DefaultScope
from tar_files import read_tar, write_shapes_tars, write_tar

pytest.importorskip('webdataset')

CLASSIFIER = 'classification/lfi_vit-128x6-p8_shapes.py'
K = 5


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def load(config_path):
    """Load a config that trains by iterations on a data set, in this process."""

    def load_iterations(**dataset):
        cfg = load_config(config_path(CLASSIFIER))
        loader = cfg.train_dataloader
        pipeline = [ConfigDict(type='LoadImageFromFile'), *loader.dataset.pipeline]
        loader.dataset = ConfigDict(_scope_='mmpretrain', pipeline=pipeline, **dataset)
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        cfg.train_cfg = ConfigDict(by_epoch=False, max_iters=20, val_interval=100)
        cfg.param_scheduler = []
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.log_processor = ConfigDict(by_epoch=False)
        cfg.default_hooks.checkpoint = ConfigDict(type='CheckpointHook', by_epoch=False, interval=10)
        cfg.default_hooks.logger.interval = 1
        cfg.randomness = ConfigDict(seed=0)
        return cfg

    return load_iterations


@pytest.fixture
def stream(load, tmp_path):
    """Three tar shards of four images, and a config that trains on them in their order."""
    tars = write_shapes_tars(tmp_path / 'data')
    return tars, load(type='lfi.WebDataset', urls=[str(tar) for tar in tars], shuffle=0)


def first_samples(cfg, folder, count):
    cfg.model.teacher.cache = str(folder)
    set_teacher_cache(cfg)
    samples = iter(DATASETS.build(cfg.train_dataloader.dataset))
    return [next(samples) for _ in range(count)]


@pytest.mark.parametrize('views', [1, K])
def test_sidecars_hold_the_maps_of_the_teacher(stream, tmp_path, views, capsys):
    tars, cfg = stream
    cache = cache_teacher(cfg, str(tmp_path / 'maps'), 4, 0, views)
    names = ['manifest.json', 'texts.npy', *(f'train-{tar}.safetensors' for tar in range(3))]
    assert cache.address == str(tmp_path / 'maps') and sorted(list_files(cache.address)) == sorted(names)
    assert verify(cfg, tmp_path / 'maps', 4, 0, 12)
    assert f'12 {"images" if views == 1 else "views"} were compared' in capsys.readouterr().out
    targets = TarJob(cfg, views).cache_targets
    compared = 0
    for item in first_samples(cfg, tmp_path / 'maps', 48):
        sample, image = item['data_samples'], item['inputs']
        if not torch.equal(sample.view, torch.eye(2, 3)):
            # Maps are warped from the complete image.
            continue
        compared += 1
        online = targets.compute(BatchView.raw(image[None], [image.shape[-2:]]))
        record = sample.interaction_maps.record
        stored = unpack(record, online.layers, online.directions, 'cpu')
        step = torch.from_numpy(record['step'].copy())[..., None, None]
        assert ((stored.logits - online.logits).abs() <= 0.5 * step + 1e-4).all()
    assert compared == 0 if views == 1 else compared > 10


def losses_of(cfg, work_dir):
    cfg.work_dir = str(work_dir)
    prepare_run(cfg)
    prepare_training(cfg)
    run_training(cfg)
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name.startswith('loss')} for row in rows]


def test_the_losses_of_20_steps_are_those_of_a_folder(stream, load, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path / 'maps'), 4, 2)
    cfg.model.teacher.cache = str(tmp_path / 'maps')
    files = sorted((tmp_path / 'data/files').rglob('*.png'))
    lines = [f'{file.relative_to(tmp_path / "data/files")} {label}' for label, file in enumerate(files)]
    (tmp_path / 'labels.txt').write_text('\n'.join(lines))
    data = dict(data_root=str(tmp_path / 'data/files'), ann_file=str(tmp_path / 'labels.txt'))
    folder = load(type='CustomDataset', **data)
    folder.train_dataloader.sampler = ConfigDict(type='InfiniteSampler', shuffle=False)
    cache_teacher(folder, str(tmp_path / 'folder_maps'), 4, 0)
    folder.model.teacher.cache = str(tmp_path / 'folder_maps')
    ours, theirs = losses_of(cfg, tmp_path / 'tars'), losses_of(folder, tmp_path / 'folder')
    assert len(ours) == 20 and ours == theirs


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_stopped_run_writes_the_missing_sidecars(stream, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path), 4, 0)
    whole = contents(tmp_path)
    (tmp_path / 'train-1.safetensors').unlink()
    (tmp_path / 'train-2.safetensors').write_bytes(whole['train-2.safetensors'][:-9])
    kept = (tmp_path / 'train-0.safetensors').stat().st_mtime_ns
    cache_teacher(cfg, str(tmp_path), 4, 0)
    assert contents(tmp_path) == whole
    assert (tmp_path / 'train-0.safetensors').stat().st_mtime_ns == kept


def test_an_unreadable_image_has_no_maps_and_is_left_out(stream, tmp_path):
    tars, cfg = stream
    broken = [(name, b'no image' if name == '1.png' else content) for name, content in read_tar(tars[0])]
    write_tar(tars[0], broken)
    cache_teacher(cfg, str(tmp_path), 4, 0)
    assert 'train-0.tar/1.png\t' in (tmp_path / 'unreadable.txt').read_text()
    assert isinstance(
        TarJob(cfg).load(next(s for s in samples_of(tars[0]) if '/1.png' in s.path), 0), Unreadable
    )
    labels = [item['data_samples'].gt_label.item() for item in first_samples(cfg, tmp_path, 4)]
    assert labels == [0, 2, 3, 4]


@pytest.mark.parametrize('views', [1, 2, K])
def test_an_image_that_a_loading_step_drops_has_no_maps(stream, tmp_path, monkeypatch, views):
    _, cfg = stream
    transform = LoadImageFromFile.transform
    monkeypatch.setattr(
        LoadImageFromFile,
        'transform',
        lambda self, results: None if '0.tar/1.png' in results['img_path'] else transform(self, results),
    )
    cache_teacher(cfg, str(tmp_path), 4, 0, views)
    assert 'train-0.tar/1.png\ta step of its pipeline' in (tmp_path / 'unreadable.txt').read_text()


def samples_of(tar):

    return read_samples(str(tar))


def rename(tar):
    write_tar(tar, [(name.replace('2', 'two'), content) for name, content in read_tar(tar)])


def reverse(tar):
    write_tar(tar, read_tar(tar)[::-1])


def shorten(tar):
    write_tar(tar, read_tar(tar)[:-2])


def lengthen(tar):
    members = read_tar(tar)
    write_tar(tar, [*members, ('9.png', members[0][1])])


def swap_pixels(tar):
    members = dict(read_tar(tar))
    first, second = members['0.png'], members['1.png']
    # Of equal size.
    size = max(len(first), len(second))
    members['0.png'], members['1.png'] = second.ljust(size, b'\0'), first.ljust(size, b'\0')
    write_tar(tar, members.items())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            rename,
            r'train-0.tar has changed since \S+train-0.safetensors was .* image 2 is \S+two.png',
        ),
        (reverse, r'train-0.tar has changed .* image 0 is \S+3.png'),
        (shorten, r'train-0.tar has changed .* it has 3 images, and had 4. Remove train-0.safetensors'),
        (lengthen, r'train-0.tar has changed .* image 4 is \S+9.png'),
        (swap_pixels, r'train-0.tar has changed .* image 0 is \S+0.png, and was another one'),
    ],
)
def test_a_tar_that_has_changed_is_named(stream, tmp_path, change, message):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path), 4, 0)
    change(tars[0])
    with pytest.raises(UsageError, match=message):
        first_samples(cfg, tmp_path, 12)


def test_a_tar_may_move_also_out_of_a_folder_of_its_name(stream, tmp_path):
    tars, cfg = stream
    for tar in tars:
        (tmp_path / f'{tar.name}.d').mkdir()
    moved = [tar.rename(tmp_path / f'{tar.name}.d' / tar.name) for tar in tars]
    cfg.train_dataloader.dataset.urls = list(map(str, moved))
    cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)
    for tar, place in zip(tars, moved):
        place.rename(tar)
    cfg.train_dataloader.dataset.urls = list(map(str, tars))
    assert len(first_samples(cfg, tmp_path / 'cache', 12)) == 12


def test_a_cache_serves_a_tar_with_other_labels(stream, tmp_path):
    tars, cfg = stream
    cfg.model.teacher.max_concepts = 3
    cache_teacher(cfg, str(tmp_path / 'maps'), 4, 0)
    for tar in tars:
        write_tar(
            tar, [(name, b'7' if name.endswith('.cls') else content) for name, content in read_tar(tar)]
        )
    samples = [item['data_samples'] for item in first_samples(cfg, tmp_path / 'maps', 12)]
    assert {sample.gt_label.item() for sample in samples} == {7}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda file, other: file.unlink(), r'train-1.safetensors is missing: run lfi cache again'),
        (lambda file, other: file.write_bytes(file.read_bytes()[:-9]), r'train-1.safetensors is missing or'),
        (
            lambda file, other: file.write_bytes(other.read_bytes()),
            r'train-1.safetensors is missing or corrupted: its records are',
        ),
    ],
)
def test_a_missing_truncated_or_foreign_sidecar_is_named(stream, tmp_path, change, message):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path / 'maps'), 4, 0)
    cache_teacher(cfg, str(tmp_path / 'other'), 4, 0, 2)
    change(tmp_path / 'maps/train-1.safetensors', tmp_path / 'other/train-1.safetensors')
    with pytest.raises(UsageError, match=message):
        first_samples(cfg, tmp_path / 'maps', 12)


def test_a_sidecar_of_another_tar_is_named(stream, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path), 4, 0)
    (tmp_path / 'train-1.safetensors').write_bytes((tmp_path / 'train-0.safetensors').read_bytes())
    with pytest.raises(UsageError, match=r'train-1.tar has changed .* image 0 is'):
        first_samples(cfg, tmp_path, 12)


def test_sidecars_of_another_data_set_are_named(stream, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path), 4, 0)
    for tar, other in zip(tars, tars[1:] + tars[:1]):
        other.rename(tar.with_suffix('.moved'))
    for tar in tars:
        tar.with_suffix('.moved').rename(tar)
    with pytest.raises(UsageError, match=r'train-0.tar has changed .* image 0 is'):
        first_samples(cfg, tmp_path, 4)
    with pytest.raises(UsageError, match=r'train-0.tar has changed'):
        verify(cfg, tmp_path, 4, 0, 1)


def test_samples_without_labels_learn_from_the_cache(stream, tmp_path):
    tars, cfg = stream
    write_tar(tars[0], [member for member in read_tar(tars[0]) if member[0] != '1.cls'])
    cache_teacher(cfg, str(tmp_path), 4, 0)
    samples = [item['data_samples'] for item in first_samples(cfg, tmp_path, 4)]
    assert [is_unlabelled(sample) for sample in samples] == [False, True, False, False]


def test_images_that_can_be_read_again_get_maps(stream, tmp_path):
    tars, cfg = stream
    whole = read_tar(tars[0])
    write_tar(tars[0], [(name, b'no image' if name == '1.png' else content) for name, content in whole])
    cache_teacher(cfg, str(tmp_path), 4, 0)
    write_tar(tars[0], whole)
    cache_teacher(cfg, str(tmp_path), 4, 0)
    assert len(first_samples(cfg, tmp_path, 4)) == 4


def test_caches_of_folders_and_of_tars_do_not_serve_each_other(stream, load, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path / 'maps'), 4, 0)
    with pytest.raises(
        UsageError, match='has sidecars of tar shards: it serves a training on lfi.WebDataset'
    ):
        InteractionCache(tmp_path / 'maps')
    data = dict(data_root=str(tmp_path / 'data/files'), with_label=True)
    cache_teacher(load(type='CustomDataset', **data), str(tmp_path / 'folder_maps'), 4, 0)
    with pytest.raises(
        UsageError, match=r'is a cache of images in folders, and has no sidecar of \S+train-0.tar'
    ):
        first_samples(cfg, tmp_path / 'folder_maps', 1)


def test_other_transforms_than_those_of_the_views_are_named(stream, tmp_path):
    tars, cfg = stream
    cache_teacher(cfg, str(tmp_path), 4, 0, K)
    cfg.train_dataloader.dataset.pipeline[1].transforms[1].prob = 0.25
    with pytest.raises(UsageError, match=r'recipe\[0\]\.transforms\[1\]\.prob is 0\.5 in the cache, 0\.25'):
        first_samples(cfg, tmp_path, 1)


def test_the_cost_needs_the_number_of_images(stream, monkeypatch):
    tars, cfg = stream
    monkeypatch.setattr(cost, 'SECONDS', 0.01)
    with pytest.raises(UsageError, match='a stream does not know how many images it has: .* --cost N'):
        cache_cost(cfg, 4, 0, K)
    found = cache_cost(cfg, 4, 0, K, 1_000_000)
    assert found.num_views == 5_000_000 and 500 < found.view_bytes < 2_000


def test_a_resumed_training_begins_the_stream_anew(stream, tmp_path, capsys):
    tars, cfg = stream
    cfg.train_dataloader.dataset.shuffle = 5
    cfg.train_cfg.max_iters = 10
    losses_of(cfg, tmp_path / 'run')
    cfg.train_cfg.max_iters = 12
    prepare_training(cfg, 'auto')
    run_training(cfg)
    printed = capsys.readouterr().out
    assert 'Resumed at iteration 10: the stream begins anew' in printed
    assert (tmp_path / 'run/iter_12.pth').is_file()
