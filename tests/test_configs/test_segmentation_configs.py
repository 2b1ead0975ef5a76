"""Configs of mmseg that inherit from ours train."""

import copy
import re

import numpy as np
import pytest
import torch
from lfi.engine.scalars import read_scalars
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from repository_configs import SEGMENTATION, header, model_differences, read

PackSegInputs = pytest.importorskip(
    'mmseg.datasets.transforms', reason='mmsegmentation is not installed'
).PackSegInputs

METHODS = [config for config in SEGMENTATION if 'baselines' not in config]


@pytest.fixture
def ade20k(tmp_path, monkeypatch):
    """ADE20K with two images a split, each of two classes."""
    root = tmp_path / 'data'
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (root / 'ade/ADEChallengeData2016' / kind / split).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 256, (64, 80, 3), dtype=np.uint8)
            classes = np.full((64, 80), 3, np.uint8)
            classes[:, 40:] = 5
            folder = root / 'ade/ADEChallengeData2016'
            Image.fromarray(pixels).save(folder / f'images/{split}/{i}.jpg')
            Image.fromarray(classes).save(folder / f'annotations/{split}/{i}.png')
    monkeypatch.setenv('LFI_DATA_ROOT', str(root))
    return root


def start(config, tmp_path):
    cfg = read(config)
    cfg.work_dir = str(tmp_path / 'work')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return cfg


def shrink(cfg):
    """Let images be of 64 pixels."""
    cfg.model.data_preprocessor.size = (64, 64)
    resize, crop, _ = cfg.train_dataloader.dataset.pipeline[2].transforms
    resize.scale, crop.crop_size = (128, 64), (64, 64)
    cfg.val_dataloader.dataset.pipeline[1].scale = (128, 64)


@pytest.mark.parametrize('config', SEGMENTATION)
def test_header_and_control(config, ade20k):
    cfg = read(config)
    (path, processes) = re.findall(r'tools/dist_train\.sh (\S+\.py) (\d+)', header(config))[0]
    assert path == config
    assert cfg.train_dataloader.batch_size * int(processes) == cfg.auto_scale_lr.base_batch_size
    assert cfg.default_hooks.non_finite.type == 'lfi.NonFiniteHook'
    assert cfg.default_hooks.concept_check.type == 'lfi.ConceptCheckHook'
    if config in METHODS:
        model, plain = model_differences(config)
        assert 'num_queries' not in model['backbone']
        assert model == plain


@pytest.mark.parametrize('config', SEGMENTATION)
def test_it_trains_and_predicts(config, ade20k, small_clip, tmp_path, unlearnt):
    cfg = start(config, tmp_path)
    shrink(cfg)
    if config in METHODS:
        cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    runner = Runner.from_cfg(cfg)
    model = runner.model.train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    interactions = {'loss_spatial', 'loss_semantic', 'loss_presence'}
    assert (interactions < set(losses)) == (config in METHODS)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(torch.as_tensor(value).isfinite().all() for value in log.values())
    assert not unlearnt(model)

    results = model.eval().val_step(next(iter(Runner.build_dataloader(cfg.val_dataloader))))
    assert all(result.pred_sem_seg.data.max() < 150 for result in results)


@pytest.mark.parametrize('config', SEGMENTATION)
def test_its_data_are_mmsegs_but_for_what_records_them(config, tmp_path):
    (tmp_path / 'theirs.py').write_text("_base_ = 'mmseg::_base_/datasets/ade20k.py'")
    cfg, theirs = read(config), Config.fromfile(tmp_path / 'theirs.py')
    steps = cfg.train_dataloader.dataset.pipeline
    bare = [*steps[:2], *steps[2].transforms, steps[3], dict(type=steps[5].type)]
    assert bare == theirs.train_dataloader.dataset.pipeline
    assert steps[5].meta_keys == (*PackSegInputs().meta_keys, 'view', 'interaction_maps')
    for loader in ('train_dataloader', 'val_dataloader'):
        for one in (cfg, theirs):
            one[loader].dataset.update(data_root=None, pipeline=None)
        assert cfg[loader] == theirs[loader]


@pytest.mark.parametrize('config', METHODS)
def test_it_trains_from_a_cache(config, ade20k, small_clip, warm_python, tmp_path):
    cfg = start(config, tmp_path)
    shrink(cfg)
    cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    cfg.model.backbone.init_cfg = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.default_hooks.logger.interval = 1
    cfg.dump(tmp_path / 'small.py')
    for words in (['cache', '--out', 'maps'], ['train', '--cfg-options', 'model.teacher.cache=maps']):
        process = warm_python.run(['-m', 'lfi', words[0], 'small.py', *words[1:]], tmp_path)
        assert process.returncode == 0, process.stdout
    (row,) = [row for row in read_scalars(tmp_path / 'work') if 'loss' in row]
    assert row['loss_spatial'] > 0 and row['decode.loss_ce'] > 0


@pytest.mark.parametrize('config', METHODS)
def test_an_images_concepts_are_its_classes(config, ade20k, small_clip, tmp_path):
    cfg = start(config, tmp_path)
    cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    model = Runner.from_cfg(cfg).model
    sample = next(iter(Runner.build_dataloader(cfg.val_dataloader)))['data_samples'][0]
    labels = model.concept_labels([sample], torch.device('cpu'))
    # Label 0 of the files is 'other', and is ignored.
    assert labels.nonzero()[:, 1].tolist() == [2, 4]


@pytest.mark.parametrize('config', METHODS)
def test_the_task_learns_from_labelled_images_and_interactions_from_all(config, ade20k, small_clip, tmp_path):
    cfg = start(config, tmp_path)
    cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    shrink(cfg)
    # What is dropped is drawn anew for each batch.
    cfg.model.decode_head.dropout_ratio = 0
    cfg.model.backbone.drop_path_rate = 0
    model = Runner.from_cfg(cfg).model.train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    data = model.data_preprocessor(batch, training=True)
    inputs, samples = data['inputs'], data['data_samples']

    def losses(rows, unlabelled=()):
        taken = copy.deepcopy([samples[row] for row in rows])
        for row in unlabelled:
            taken[row].set_metainfo(dict(unlabelled=True))
        return model(inputs[rows], taken, mode='loss')

    both, mixed, alone = losses([0, 1]), losses([0, 1], unlabelled=[1]), losses([0])
    task = [name for name in alone if name.startswith('decode')]
    assert task
    for name in task:
        torch.testing.assert_close(mixed[name], alone[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both['decode.loss_ce'], alone['decode.loss_ce'], rtol=1e-4)
    # Both images are asked about; a label raises presence where it is known.
    assert not torch.allclose(mixed['loss_presence'], alone['loss_presence'], rtol=1e-4)
    none = losses([0, 1], unlabelled=[0, 1])
    assert all(none[name] == 0 for name in task if 'loss' in name) and none['loss_spatial'] > 0


def test_a_segmentor_has_the_prior_without_a_teacher(ade20k, tmp_path):
    cfg = start('configs/baselines/task-loss_fpn_vit-small-p16_80k_ade20k-512x512.py', tmp_path)
    plain = copy.deepcopy(cfg.model)
    backbone = {**plain.backbone, 'type': 'lfi.InteractionQueryViT', 'init_cfg': None}
    cfg.model.update(
        type='lfi.Student',
        task='mmseg.EncoderDecoder',
        backbone=backbone,
        supervision=dict(prior=dict(type='lfi.AffinityPrior')),
    )
    shrink(cfg)
    model = Runner.from_cfg(cfg).model.train()
    data = model.data_preprocessor(next(iter(Runner.build_dataloader(cfg.train_dataloader))), training=True)
    losses = model(**data, mode='loss')
    assert losses['loss_prior'] > 0 and losses['decode.loss_ce'] > 0
    for sample in data['data_samples']:
        sample.set_metainfo(dict(unlabelled=True))
    hidden = model(**data, mode='loss')
    assert hidden['decode.loss_ce'] == 0 and hidden['loss_prior'] > 0
