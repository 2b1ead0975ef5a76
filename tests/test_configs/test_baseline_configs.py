"""Each baseline that distils in another way changes the model only, and learns."""

import os

import pytest
import torch
from lfi.registry import MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from repository_configs import BASELINES, ROOT, TASK_LOSS, baseline_of, read, start

from research.studies.arms import ARMS, METHOD
from research.studies.job import read_config
from research.studies.presets import PRESETS

OTHERS = [config for config in BASELINES if config not in TASK_LOSS]


def kind_of(config: str) -> str:
    return config.rsplit('/', 1)[1].split('_')[0]


def test_each_student_has_every_baseline_that_is_a_config():
    students = {config.rsplit('/', 1)[1].split('_', 1)[1] for config in OTHERS}
    assert students
    wanted = {name for name, arm in ARMS.items() if arm.of is None} - {'task-loss', METHOD}
    for student in students:
        kinds = {kind_of(config) for config in OTHERS if config.endswith(f'/{kind_of(config)}_{student}')}
        assert kinds == wanted


@pytest.mark.parametrize('study', ['shapes', 'tiny-full'])
@pytest.mark.parametrize(('arm', 'prior', 'queries'), [('no-prior', False, 0), ('queries', True, 8)])
def test_what_an_arm_takes_away_or_adds_is_so_for_every_student(study, arm, prior, queries):
    (found,) = (other for other in PRESETS[study].arms if other.name == arm)
    cfg = read_config(found.config, found.options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build({**cfg.model, 'data_preprocessor': None})
    assert (model.affinity_prior is not None) is prior
    assert model.backbone.num_queries == queries


@pytest.mark.parametrize('config', [config for config in OTHERS if config.endswith('tiny-imagenet-20.py')])
def test_settings_of_20_classes_hold_for_50(config):
    ours, theirs = read(config).model, read(config.replace('-20.py', '-50.py')).model
    assert ours.get('distill_loss') == theirs.get('distill_loss')
    assert ours.backbone == theirs.backbone


@pytest.mark.parametrize('config', OTHERS)
def test_changes_the_model_and_nothing_else(config):
    ours, theirs = read(config).to_dict(), read(baseline_of(config)).to_dict()
    ours.pop('model')
    theirs.pop('model')
    assert ours == theirs


@pytest.mark.parametrize('config', OTHERS)
def test_learns(config, small_data, small_clip, tmp_path, monkeypatch, unlearnt):
    if 'LFI_TEACHER_ROOT' not in os.environ:
        monkeypatch.setenv('LFI_TEACHER_ROOT', str((ROOT / '../shared/teachers').resolve()))
    cfg = read(config)
    teacher = cfg.model.get('teacher', {})
    if teacher.get('pretrained'):
        # CLIP's own weights are not at hand; what is compared is as wide.
        teacher.update(model=str(small_clip), pretrained=None)
    elif '/' in teacher.get('model', '') and not os.path.isdir(teacher['model']):
        pytest.skip(f'there is no teacher in {teacher["model"]} (LFI_TEACHER_ROOT sets the folder)')
    model = start(cfg, tmp_path).model.train()
    # Away from the start, where the gates let nothing through.
    for name, parameter in model.named_parameters():
        if name.endswith('query_gate'):
            torch.nn.init.constant_(parameter, 0.1)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    distilled = losses.keys() - {'loss_cls', 'loss_affinity'}
    assert 'loss_cls' in losses and bool(distilled) is (ARMS[kind_of(config)].reads is not None)
    assert ('loss_affinity' in losses) is ('affinity_prior' in cfg.model)
    sum(losses.values()).backward()
    assert torch.stack([*losses.values()]).isfinite().all()
    assert not unlearnt(model)
