"""Every config of pretraining builds, reads its data and learns without labels."""

import re
from pathlib import Path

import pytest
import torch
from lfi.models import Student
from lfi.models.teachers import text_dims_of
from mmengine.config import DictAction
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from repository_configs import PRETRAINING, ROOT, bases, read

FOLDER = [config for config in PRETRAINING if 'folder' in config]
MEASURED = [config for config in PRETRAINING if config not in FOLDER or 'probed' in config]


@pytest.fixture
def folders(small_root, tmp_path, monkeypatch):
    """`images`, without labels, and `labelled`, a folder for each class."""
    root = tmp_path / 'data'
    root.mkdir()
    (root / 'images').symlink_to(small_root / 'imagenet')
    for name in ('sketch', 'photo'):
        (root / 'labelled' / name).parent.mkdir(exist_ok=True)
        (root / 'labelled' / name).symlink_to(small_root / f'PACS/{name}/dog')
    monkeypatch.setenv('LFI_DATA_ROOT', str(root))
    return root


def build(config, tmp_path, small_clip=None):
    cfg = read(config)
    cfg.work_dir = str(tmp_path / 'work')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].update(batch_size=2, num_workers=0, persistent_workers=False)
    if small_clip is not None and cfg.model.teacher.get('pretrained') is not None:
        assert text_dims_of(cfg.model.teacher) == 512
        cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    return cfg, Runner.from_cfg(cfg)


@pytest.mark.parametrize('config', PRETRAINING)
def test_learns_without_labels(config, folders, small_clip, tmp_path, unlearnt):
    cfg, runner = build(config, tmp_path, small_clip)
    method = Path(config).name.startswith('lfi-')
    assert isinstance(runner.model, Student) and cfg.model.get('task') is None
    assert (runner.model.interactions is not None) is method
    assert cfg.default_hooks.checkpoint.save_best is None
    model = runner.model.train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    assert all(sample.metainfo['unlabelled'] for sample in batch['data_samples'])
    side = 64 if 'shapes' in config else 224
    assert batch['inputs'][0].shape == (3, side, side)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    sum(losses.values()).backward()
    values = torch.stack([*losses.values()]).detach()
    assert values.isfinite().all() and (values > 0).all()
    assert not unlearnt(model)


def test_options_alone_make_it_copy_features(folders, small_clip, tmp_path, monkeypatch):
    """Those of docs/few_labels.md."""
    blocks = (ROOT / 'docs/few_labels.md').read_text().split('```')
    (command,) = (block for block in blocks if 'lfi.DenseFeatures' in block)
    options = re.findall(r'(model\.[\w.]+)=([\w.]+)', command)
    assert options
    config = next(config for config in MEASURED if 'folder' in config)
    plain = read(config)
    plain.merge_from_dict({name: DictAction._parse_iterable(value) for name, value in options})
    plain.dump(tmp_path / 'changed.py')
    _, runner = build(str(tmp_path / 'changed.py'), tmp_path, small_clip)
    model = runner.model.train()
    assert model.interactions is None
    batch = next(iter(runner.train_dataloader))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert set(losses) == {'loss_cosine', 'loss_smooth_l1'}
    sum(losses.values()).backward()


@pytest.mark.parametrize('config', PRETRAINING)
def test_its_schedule_fills_the_training(config):
    cfg = read(config)
    assert [s.end for s in cfg.param_scheduler][-1] == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('config', MEASURED)
def test_its_features_are_measured_on_labelled_images(config, folders, small_clip, tmp_path):
    cfg, runner = build(config, tmp_path, small_clip)
    init_default_scope(cfg.default_scope)
    assert (
        cfg.test_evaluator == cfg.val_evaluator and cfg.test_dataloader.dataset == cfg.val_dataloader.dataset
    )
    results = runner.model.val_step(next(iter(Runner.build_dataloader(cfg.val_dataloader))))
    assert [result.features.ndim for result in results] == [1, 1]
    evaluator = runner.build_evaluator(cfg.val_evaluator)
    for _ in range(2):
        evaluator.process(data_samples=results)
    assert set(evaluator.evaluate(4)) == {'knn/top1', 'linear/top1'}


@pytest.mark.parametrize('config', FOLDER)
def test_a_folder_of_few_images_makes_a_batch(config, folders):
    loader = read(config).train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.indices = 1
    init_default_scope('mmpretrain')
    assert len(Runner.build_dataloader(loader)) == 1


@pytest.mark.parametrize('config', [config for config in FOLDER if config not in MEASURED])
def test_without_labels_nothing_is_validated(config, folders):
    cfg = read(config)
    assert not any(cfg.get(f'val_{part}') for part in ('dataloader', 'evaluator', 'cfg'))
    # lfi infer prepares images as this says.
    init_default_scope(cfg.default_scope)
    assert DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs'].shape == (3, 224, 224)


@pytest.mark.parametrize('config', [config for config in PRETRAINING if 'shapes' in config])
def test_the_labels_of_shapes_are_hidden(config):
    cfg = read(config)
    plain = read(next(base for base in bases(config) if '/task-loss_' in base))
    assert cfg.train_dataloader.dataset.dataset == plain.train_dataloader.dataset
    assert cfg.train_dataloader.dataset.labels_per_class == 0
    assert 'Adapter' in cfg.model.backbone.type or cfg.model.backbone == plain.model.backbone
