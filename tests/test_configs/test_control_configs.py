"""Each control that is more than the task loss alone changes the model only, and learns."""

import os

import pytest
import torch
from mmengine.runner import Runner
from repository_configs import OTHER_CONTROLS, ROOT, control_of, read, start

INTERACTIONS = {'loss_positions', 'loss_concepts', 'loss_text_class'}
# What stands in the log beside the task's loss.
TERMS = {
    'queries': set(),
    'feature-mse': {'loss_feature'},
    'logit-kd': {'loss_logits'},
    'attention-transfer': {'loss_attention'},
    'shuffled-attention': {'loss_attention'},
    'shuffled-images': INTERACTIONS,
    'shuffled-places': INTERACTIONS,
    'lfi-positions': INTERACTIONS - {'loss_concepts'},
    'lfi-concepts': INTERACTIONS - {'loss_positions'},
    'lfi-no-text-class': INTERACTIONS - {'loss_text_class'},
    'lfi-no-write-back': INTERACTIONS,
    'lfi-not-persistent': INTERACTIONS,
    'lfi-index': INTERACTIONS,
    'lfi-hungarian': INTERACTIONS,
}
# The control of zero-shot tests, which need a text head.
TEXT_CLASS = {'text-class': {'loss_text_class'}}


def kind_of(config: str) -> str:
    return config.rsplit('/', 1)[1].split('_')[0]


def test_each_student_has_every_control():
    controls = [config for config in OTHER_CONTROLS if kind_of(config) not in TEXT_CLASS]
    students = {config.rsplit('/', 1)[1].split('_', 1)[1] for config in controls}
    assert students
    for student in students:
        kinds = {kind_of(config) for config in controls if config.endswith(f'/{kind_of(config)}_{student}')}
        assert kinds == set(TERMS)


@pytest.mark.parametrize('config', OTHER_CONTROLS)
def test_changes_the_model_and_nothing_else(config):
    ours, theirs = read(config).to_dict(), read(control_of(config)).to_dict()
    ours.pop('model')
    theirs.pop('model')
    assert ours == theirs


@pytest.mark.parametrize('config', OTHER_CONTROLS)
def test_learns(config, small_data, small_clip, tmp_path, monkeypatch):
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
    assert set(losses) == {'loss', *(TERMS | TEXT_CLASS)[kind_of(config)]}
    sum(losses.values()).backward()
    assert torch.stack([*losses.values()]).isfinite().all()
    # DDP runs without a search for unused parameters.
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
