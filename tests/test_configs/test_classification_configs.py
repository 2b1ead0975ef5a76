"""Every config of classification builds, reads its data and learns."""

import os

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from repository_configs import BASELINES, CLASSIFICATION, ROOT, model_differences, read, start, teacher_of

METHODS = [config for config in CLASSIFICATION if config not in BASELINES]
TINY_IMAGENET = [config for config in CLASSIFICATION if 'tiny-imagenet' in config]


def class_counts(cfg: Config) -> list[int]:
    """Each `num_classes` of a config, wherever it stands."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == 'num_classes')
            node = list(node.values())
        if isinstance(node, list | tuple):
            for item in node:
                walk(item)

    walk(cfg.to_dict())
    return found


@pytest.mark.parametrize('config', METHODS)
def test_differs_from_its_baseline_by_the_interactions_alone(config, empty_root):
    model, plain = model_differences(config)
    assert model['backbone'].pop('type') == 'lfi.InteractionQueryViT'
    # A pretrained recipe's ViT is plain.
    assert plain['backbone'].pop('type') in {'VisionTransformer', 'lfi.InteractionQueryViT'}
    assert 'num_queries' not in model['backbone']
    assert model == plain


@pytest.mark.parametrize('config', TINY_IMAGENET)
def test_class_count_follows_the_data(config, empty_root, small_root, monkeypatch):
    cfg = read(config)
    assert set(class_counts(cfg)) == {cfg.get('max_classes', 200)}
    monkeypatch.setenv('LFI_DATA_ROOT', str(small_root))
    cfg = read(config)
    assert set(class_counts(cfg)) == {5}
    assert cfg.model.head.num_classes == cfg.model.head.loss.num_classes == cfg.data_preprocessor.num_classes


@pytest.mark.parametrize('config', CLASSIFICATION)
def test_builds_and_reads_its_data(config, small_data, tmp_path):
    cfg = read(config)
    runner = start(cfg, tmp_path)
    size, classes = cfg.model.backbone.img_size, cfg.model.head.num_classes
    assert not getattr(runner.model, '_teacher', None)

    dataset = Runner.build_dataloader(cfg.train_dataloader).dataset
    sample = dataset[0]
    assert sample['inputs'].shape == (3, size, size)
    assert len(dataset.metainfo['classes']) == classes
    assert sample['data_samples'].gt_label.item() < classes

    results = runner.model.val_step(next(iter(Runner.build_dataloader(cfg.val_dataloader))))
    assert [result.pred_score.shape for result in results] == [(classes,)] * 2
    evaluator = runner.build_evaluator(cfg.val_evaluator)
    evaluator.process(data_samples=results)
    assert 0 <= evaluator.evaluate(2)['accuracy/top1'] <= 100

    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    epoch_length = len(runner.train_loop.dataloader)
    schedulers = runner.build_param_scheduler(cfg.param_scheduler)
    spans = [
        (s.begin, s.end) if s.by_epoch else (s.begin / epoch_length, s.end / epoch_length) for s in schedulers
    ]
    assert spans[0][0] == 0
    assert spans[-1][1] == cfg.train_cfg.max_epochs
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:]))


@pytest.mark.parametrize('config', METHODS)
def test_decay_and_rates_of_the_queries(config, empty_root, tmp_path):
    cfg = read(config)
    # As the arm `lfi-write-back` has them.
    cfg.model.backbone.update(num_queries=8, write_back='gated')
    runner = start(cfg, tmp_path)
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    group_of = {id(group['params'][0]): group for group in optimizer.param_groups}
    trained = {name: p for name, p in runner.model.named_parameters() if p.requires_grad}
    groups = {name: group_of[id(parameter)] for name, parameter in trained.items()}

    def rate_and_decay(name):
        return groups[name]['lr'], groups[name]['weight_decay']

    backbone, base = runner.model.backbone, cfg.optim_wrapper.optimizer
    layer_decay = cfg.optim_wrapper.paramwise_cfg.get('layer_decay_rate', 1)
    first_rate = base.lr * layer_decay ** (backbone.num_layers + 1)
    assert rate_and_decay('backbone.interaction_queries') == rate_and_decay('backbone.pos_embed')
    assert rate_and_decay('backbone.interaction_queries') == pytest.approx((first_rate, 0))
    for layer in range(backbone.num_layers):
        gate = rate_and_decay(f'backbone.layers.{layer}.query_gate')
        assert gate == (groups[f'backbone.layers.{layer}.attn.qkv.weight']['lr'], 0)
    weights = ('question_head', 'presence_head', 'patch_head')
    for name in (*(f'readout.{weight}.weight' for weight in weights), 'head.layers.head.weight'):
        assert rate_and_decay(name) == pytest.approx((base.lr, base.weight_decay))
    vectors = ('question_head.bias', 'presence_norm.weight', 'patch_norm.weight', 'patch_norm.bias')
    for name in (f'readout.{vector}' for vector in vectors):
        assert rate_and_decay(name) == pytest.approx((base.lr, 0)), name


@pytest.mark.parametrize('config', METHODS)
def test_learns_from_its_teacher(config, small_data, small_clip, tmp_path, monkeypatch, unlearnt):
    if 'LFI_TEACHER_ROOT' not in os.environ:
        monkeypatch.setenv('LFI_TEACHER_ROOT', str((ROOT / '../shared/teachers').resolve()))
    cfg = read(config)
    cfg.model.teacher = teacher_of(cfg, small_clip)
    model = start(cfg, tmp_path).model.train()
    bank = model.teacher.bank
    # The classes come first; other concepts, such as the background, may follow.
    assert len(bank) >= cfg.model.head.num_classes
    assert bank.embeddings.shape[1] == model.readout.text_dims

    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    prior = {'loss_prior'} if 'prior' in cfg.model.supervision else set()
    assert set(losses) == {'loss_cls', 'loss_spatial', 'loss_semantic', 'loss_presence', *prior}
    sum(losses.values()).backward()
    values = torch.stack([*losses.values()]).detach()
    assert values.isfinite().all()
    assert (values > 0).all()
    assert not unlearnt(model)
