"""Every config of a backbone that an adapter asks builds, reads its data and learns."""

import os

import pytest
import torch
from lfi.models.adapters import InteractionQueries
from mmengine.runner import Runner
from repository_configs import BASELINES, OTHER_BACKBONES, ROOT, model_differences, read, start, teacher_of

METHODS = [config for config in OTHER_BACKBONES if config not in BASELINES]
COCO = [config for config in OTHER_BACKBONES if 'coco' in config]


@pytest.fixture
def data(request, small_data, coco_root, monkeypatch):
    """The data of the test's config."""
    config = request.node.callspec.params['config']
    monkeypatch.setenv('LFI_DATA_ROOT', str(coco_root if config in COCO else small_data))


def small_start(config, tmp_path):
    """A config's Runner without weights to fetch, on images that are small where the task lets them."""
    cfg = read(config)
    backbone = cfg.model.backbone.get('backbone', cfg.model.backbone)
    backbone.pop('init_cfg', None)
    if config in COCO:
        pipeline = cfg.train_dataloader.dataset.pipeline
        small = dict(type='Resize', scale=(96, 64), keep_ratio=True)
        recorded = next((step for step in pipeline if step.type == 'lfi.RecordView'), None)
        if recorded is not None:
            recorded.transforms = [small]
        else:
            pipeline[2:-1] = [small]
    return cfg, start(cfg, tmp_path)


@pytest.mark.parametrize('config', METHODS)
def test_differs_from_its_baseline_by_the_adapter_and_the_interactions_alone(config, empty_root):
    model, plain = model_differences(config)
    adapter = model.pop('backbone')
    assert adapter['type'] == 'lfi.InteractionQueryAdapter' and 'num_queries' not in adapter
    own, expected = adapter['backbone'], plain.pop('backbone')
    # A map more is given where only the last one was.
    own.pop('out_indices', None), expected.pop('out_indices', None)
    assert own == expected
    assert model == plain


@pytest.mark.parametrize('config', [config for config in OTHER_BACKBONES if config in BASELINES])
def test_a_baseline_is_the_projects_own_model(config, data, tmp_path):
    cfg, runner = small_start(config, tmp_path)
    assert not any(name.startswith('lfi') for name in (type(runner.model).__module__, cfg.model.type))
    runner.build_optim_wrapper(cfg.optim_wrapper)


@pytest.mark.parametrize('config', METHODS)
def test_learns_from_its_teacher(config, data, small_clip, tmp_path, monkeypatch, unlearnt):
    if 'LFI_TEACHER_ROOT' not in os.environ:
        monkeypatch.setenv('LFI_TEACHER_ROOT', str((ROOT / '../shared/teachers').resolve()))
    cfg, runner = small_start(config, tmp_path)
    model = runner.model.train()
    assert isinstance(model.backbone, InteractionQueries)
    model.teacher_cfg.update(teacher_of(cfg, small_clip))
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    taken = {id(p) for group in optimizer.optimizer.param_groups for p in group['params']}
    assert {id(p) for p in model.parameters() if p.requires_grad} <= taken
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert {'loss_spatial', 'loss_semantic', 'loss_presence'} < set(losses)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(torch.as_tensor(value).isfinite().all() for value in log.values())
    assert not unlearnt(model)


@pytest.mark.parametrize('config', METHODS)
def test_reads_its_validation_data(config, data, tmp_path):
    _, runner = small_start(config, tmp_path)
    batch = next(iter(Runner.build_dataloader(runner.cfg.val_dataloader)))
    assert len(batch['data_samples']) == 2
