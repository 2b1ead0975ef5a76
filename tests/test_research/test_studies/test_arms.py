"""Each arm of the table is the method's student, or a baseline's, with one thing changed; and learns."""

from copy import deepcopy

import pytest
import torch
from lfi.config_files import tools_root
from lfi.export import export_student, model_config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from research.studies.arms import ARMS, METHOD, arms_of_kind, build_arm, control_references
from research.studies.job import read_config
from research.studies.presets.students import FEW_LABELS_ARMS

STUDENT = 'vit-128x6-p8_shapes'
CHANGED = [name for name, variety in ARMS.items() if variety.options]
TERMS = ('spatial', 'semantic', 'presence')


def config_of(name):
    arm = build_arm(name, STUDENT)
    return read_config(arm.config, arm.options)


@pytest.mark.parametrize('name', ARMS)
def test_its_config_exists_and_is_of_its_kind(name):
    arm = build_arm(name, STUDENT)
    assert (tools_root() / arm.config).is_file()
    kind = ARMS[name].kind
    assert (kind == 'method') == (name == METHOD)
    if kind in ('ablation', 'negative control'):
        assert ARMS[name].base in ARMS
    if kind == 'ablation':
        assert ARMS[name].base == METHOD


@pytest.mark.parametrize('name', CHANGED)
def test_it_changes_the_model_and_nothing_else(name):
    ours, theirs = config_of(name).to_dict(), config_of(ARMS[name].base).to_dict()
    assert ours.pop('model') != theirs.pop('model')
    assert ours == theirs


@pytest.mark.parametrize('name', CHANGED)
def test_it_learns(name, unlearnt):
    cfg = config_of(name)
    init_default_scope('mmpretrain')
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.num_images = 4
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).train()
    model.init_weights()
    # Away from the start, where the gates let nothing through.
    for key, parameter in model.named_parameters():
        if key.endswith('query_gate'):
            torch.nn.init.constant_(parameter, 0.1)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    if model.interactions is not None:
        loss = cfg.model.supervision.interactions.get('loss', {})
        weights = {term: loss.get(f'{term}_weight', 1) for term in TERMS}
        assert {f'loss_{term}' for term in TERMS if weights[term]} == {
            f'loss_{term}' for term in TERMS if f'loss_{term}' in losses
        }
        assert {'loss_cls', 'loss_prior'} <= losses.keys()
    sum(losses.values()).backward()
    assert torch.stack([*losses.values()]).isfinite().all()
    assert not unlearnt(model)


# A mixture needs the second head, which an export lacks: `lfi export` refuses it.
@pytest.mark.parametrize('name', [name for name in ARMS if name not in FEW_LABELS_ARMS])
@torch.no_grad()
def test_its_export_predicts_what_it_did(name):
    init_default_scope('mmpretrain')
    model = model_config(config_of(name))
    student = MODELS.build(deepcopy(model)).eval()
    exported = export_student(student, model)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(exported.build()(images), student(images))
    assert not {'readout', 'supervision', 'control'} & {key.split('.')[0] for key in exported.state}


def test_negative_controls_know_what_they_are_compared_with():
    pairs = control_references(tuple(ARMS))
    assert set(pairs) == set(arms_of_kind('negative control'))
    assert pairs['other-image'] == 'lfi' and pairs['other-image-affinity'] == 'pairwise-affinity'
