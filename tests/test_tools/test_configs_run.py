"""Configs of this repository, run by its tools as a user runs them."""

import re
from pathlib import Path

import pytest
import torch
from lfi.engine.scalars import read_scalars
from torch.distributed.elastic.utils.distributed import get_free_port

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / 'configs/classification/lfi_vit-128x6-p8_shapes.py'
RESNET18 = ROOT / 'configs/classification/lfi_resnet18_shapes.py'
LIT_LITE0 = ROOT / 'configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py'
LOSSES = ('loss_spatial', 'loss_semantic', 'loss_presence')
# Four steps an epoch.
FEW_IMAGES = (
    'train_dataloader.dataset.num_images=64',
    'train_dataloader.batch_size=16',
    'train_dataloader.num_workers=0',
    'val_dataloader.dataset.num_images=40',
    'val_dataloader.num_workers=0',
    'test_dataloader.dataset.num_images=40',
    'test_dataloader.num_workers=0',
    'default_hooks.logger.interval=1',
)

# Saves the weights of every process, not only of the first.
SAVE_RANK = """
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SaveRank(Hook):
    def after_train(self, runner):
        assert runner.model.find_unused_parameters is False
        torch.save(runner.model.module.state_dict(), f'{runner.work_dir}/rank{runner.rank}.pth')
"""
TWO_PROCESSES = """
_base_ = {base!r}
custom_imports = dict(imports=['lfi', 'save_rank'])
custom_hooks = [dict(type='SaveRank')]
"""


def accuracy(output: str, stage: str) -> str:
    """The last accuracy of a stage, as it is printed."""
    return re.findall(rf'Epoch\({stage}\).*accuracy/top1: ([\d.]+)', output)[-1]


def losses(output: str) -> list[dict[str, float]]:
    """What each training step logged, by name."""
    steps = [line for line in output.splitlines() if 'Epoch(train)' in line]
    pairs = [re.findall(r'(loss\w*): ([-\d.enaif]+)', line) for line in steps]
    return [{name: float(value) for name, value in step} for step in pairs]


def check_losses(output: str, steps: int) -> None:
    logged = losses(output)
    assert len(logged) == steps
    for step in logged:
        assert set(LOSSES) < set(step)
        assert torch.tensor(list(step.values())).isfinite().all()


def test_shapes_trains_and_tests_alike(run_tool, tmp_path):
    work = tmp_path / 'work'
    options = ('--work-dir', work, '--cfg-options', 'train_cfg.max_epochs=1', *FEW_IMAGES)
    trained = run_tool('train.py', SHAPES, *options)
    check_losses(trained, steps=4)
    # The teacher's weights are in no checkpoint, and testing does without it.
    saved = torch.load(work / 'epoch_1.pth', weights_only=False)['state_dict']
    assert {name.partition('.')[0] for name in saved} == {'backbone', 'head', 'readout'}
    options = (*options, 'model.teacher.model=no/such/teacher')
    tested = run_tool('test.py', SHAPES, work / 'epoch_1.pth', *options)
    assert accuracy(tested, 'test') == accuracy(trained, 'val')


@pytest.fixture
def two_processes(run_tool, tool_env, tmp_path):
    """`two_processes(config, *options)` trains in two, and returns what they print and their weights."""

    def train(base: Path, *options) -> tuple[str, list[dict]]:
        (tmp_path / 'save_rank.py').write_text(SAVE_RANK)
        config = tmp_path / 'two_processes.py'
        config.write_text(TWO_PROCESSES.format(base=str(base)))
        path = f'{tmp_path}:{tool_env["PYTHONPATH"]}'
        arguments = ('--no-validate', '--work-dir', tmp_path / 'work', *options)
        port = str(get_free_port())
        output = run_tool('dist_train.sh', config, 2, *arguments, PYTHONPATH=path, PORT=port)
        return output, [torch.load(tmp_path / f'work/rank{rank}.pth') for rank in range(2)]

    return train


def check_ranks(ranks: list[dict], checkpoint: Path) -> None:
    """Each process has what the checkpoint has."""
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    first, second = ranks
    assert first.keys() == second.keys() == saved.keys()
    for name, value in saved.items():
        # What a batch norm saw is each process's own.
        if not name.endswith(('running_mean', 'running_var')):
            assert value.equal(second[name]), name
        assert value.equal(first[name]), name


def test_shapes_in_two_processes(two_processes, tmp_path):
    output, ranks = two_processes(SHAPES, '--cfg-options', 'train_cfg.max_epochs=1', *FEW_IMAGES)
    check_losses(output, steps=2)
    check_ranks(ranks, tmp_path / 'work/epoch_1.pth')


def test_a_wrapped_backbone_in_two_processes_and_half_precision_resumes(two_processes, tmp_path):
    for epoch in (1, 2):
        options = ('--amp', '--resume', '--cfg-options', f'train_cfg.max_epochs={epoch}', *FEW_IMAGES)
        output, ranks = two_processes(RESNET18, *options)
        check_losses(output, steps=2)
        check_ranks(ranks, tmp_path / f'work/epoch_{epoch}.pth')
    (config,) = (tmp_path / 'work').glob('*.py')
    assert 'CPUAmpOptimWrapper' in config.read_text()
    assert 'resumed epoch: 1, iter: 2' in output


def test_lit_lite0_on_tiny_imagenet(run_tool, data_root, teacher_root, tmp_path):
    data = data_root('tiny-imagenet-200')
    classes = len((data / 'wnids.txt').read_text().split())
    steps = classes // 16
    options = (
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.images_per_class=1',
        'train_dataloader.batch_size=16',
        'train_dataloader.num_workers=0',
        'val_dataloader.dataset.images_per_class=1',
        'val_dataloader.num_workers=0',
        'default_hooks.logger.interval=1',
    )
    output = run_tool(
        'train.py',
        LIT_LITE0,
        *('--work-dir', tmp_path / 'work', '--cfg-options', *options),
        LFI_DATA_ROOT=str(data.parent),
        LFI_TEACHER_ROOT=str(teacher_root),
    )
    check_losses(output, steps=steps)
    assert 0 <= float(accuracy(output, 'val')) <= 100


def test_shapes_fully_sharded_resumes(run_tool, tmp_path):
    base = [str(SHAPES), str(ROOT / 'configs/_base_/strategies/fsdp.py')]
    config = tmp_path / 'fsdp.py'
    config.write_text(f'_base_ = {base}\n')
    work = tmp_path / 'work'
    for epochs in (1, 2):
        changes = (f'train_cfg.max_epochs={epochs}', *FEW_IMAGES)
        options = ('--work-dir', work, '--resume', '--cfg-options', *changes)
        output = run_tool('dist_train.sh', config, 2, *options, PORT=str(get_free_port()))
    assert 'resumed epoch: 1, iter: 2' in output
    check_losses(output, steps=2)
    # Whole tensors under the student's own names: another tool reads them without shards.
    saved = torch.load(work / 'epoch_2.pth', weights_only=False)['state_dict']
    assert saved['backbone.pos_embed'].shape == (1, 64, 128)
    tested = run_tool('test.py', SHAPES, work / 'epoch_2.pth', '--cfg-options', *FEW_IMAGES)
    assert accuracy(tested, 'test') == accuracy(output, 'val')
    # The gradient is clipped by the norm that it has as a whole.
    plain = tmp_path / 'plain'
    options = ('--work-dir', plain, '--cfg-options', 'train_cfg.max_epochs=1', *FEW_IMAGES)
    run_tool('dist_train.sh', SHAPES, 2, *options, PORT=str(get_free_port()))
    first = [next(read_scalars(folder))['grad_norm'] for folder in (work, plain)]
    assert first[0] == pytest.approx(first[1], rel=1e-3)
    # Weights decay, though their shards are as flat as biases.
    assert decaying(work / 'epoch_2.pth') == decaying(plain / 'epoch_1.pth') > 0


def decaying(checkpoint):
    groups = torch.load(checkpoint, weights_only=False)['optimizer']['param_groups']
    return sum(len(group['params']) for group in groups if group['weight_decay'])
