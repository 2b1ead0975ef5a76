"""Each baseline with another supervision changes the model only, and learns."""

import pytest
import torch
from lfi.registry import MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from repository_configs import BASELINES, TASK_LOSS, baseline_of, read, start, teacher_of

from research.studies.job import read_config
from research.studies.presets import PRESETS

OTHERS = [config for config in BASELINES if config not in TASK_LOSS]


def added_parts(config: str) -> list[str]:
    """The types of what a baseline learns from, beside what the task loss alone has."""
    ours, plain = (read(each).model.get('supervision', {}) for each in (config, baseline_of(config)))
    return [part.type for name, part in ours.items() if name not in plain]


@pytest.mark.parametrize('study', ['shapes', 'tiny-full'])
@pytest.mark.parametrize(('arm', 'prior', 'queries'), [('no-prior', False, 0), ('queries', True, 8)])
def test_what_an_arm_takes_away_or_adds_is_so_for_every_student(study, arm, prior, queries):
    (found,) = (other for other in PRESETS[study].arms if other.name == arm)
    cfg = read_config(found.config, found.options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build({**cfg.model, 'data_preprocessor': None})
    assert ('prior' in model.supervision) is prior
    assert model.backbone.num_queries == queries


@pytest.mark.parametrize('config', OTHERS)
def test_changes_the_model_and_nothing_else(config):
    ours, theirs = read(config).to_dict(), read(baseline_of(config)).to_dict()
    ours.pop('model')
    theirs.pop('model')
    assert ours == theirs


@pytest.mark.parametrize('config', OTHERS)
def test_learns(config, small_data, small_clip, tmp_path, unlearnt):
    cfg = read(config)
    cfg.model.teacher = teacher_of(cfg, small_clip)
    model = start(cfg, tmp_path).model.train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    shared = {'loss_cls', 'loss_prior'}
    assert shared < set(losses)
    sum(losses.values()).backward()
    assert torch.stack([*losses.values()]).isfinite().all()
    assert not unlearnt(model)
