import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import torch
from lfi.engine.scalars import read_scalars
from mmengine.config import Config


def last_accuracy(output: str) -> float:
    return float(re.findall(r'accuracy/top1: ([\d.]+)', output)[-1])


def epoch_of(checkpoint: Path) -> int:
    return int(re.search(r'\d+', checkpoint.name).group())


def test_a_file_that_metrics_cannot_be_written_to_is_refused_before_the_test(run_tool):
    options = ('--out', 'metrics.txt', '--out-item', 'metrics')
    output = run_tool('test.py', 'lfi_vit-128x6-p8_shapes', 'student.pth', *options, code=2)
    assert 'metrics are written to a .json, .yml, .yaml, .pkl, .pickle file, got --out metrics.txt' in output


def test_train_then_test_then_resume(run_tool, toy_config):
    work, folder = toy_config.parent / 'work', toy_config.parent
    trained = run_tool('train.py', toy_config, '--cfg-options', 'optim_wrapper.optimizer.lr=0.002')
    assert (work / 'last_checkpoint').read_text() == str(work / 'epoch_2.pth')
    run = f'{work / toy_config.name} {work / "epoch_2.pth"}'
    assert trained.endswith(f'Next:\n  lfi test {run}\n  lfi infer {run} PHOTOS --out-dir {work / "seen"}\n')

    metrics, shown = folder / 'metrics.json', folder / 'shown'
    options = ('--out', metrics, '--out-item', 'metrics', '--show-dir', shown)
    config_of_run = (work / toy_config.name).read_bytes()
    tested = run_tool('test.py', toy_config, work / 'epoch_2.pth', *options)
    assert last_accuracy(tested) == pytest.approx(last_accuracy(trained))
    written = json.loads(metrics.read_text())['accuracy/top1']
    assert written == pytest.approx(last_accuracy(trained), abs=1e-3)
    assert len(list(shown.rglob('*.png'))) == 8
    # A test writes its config beside its log.
    assert (work / toy_config.name).read_bytes() == config_of_run
    assert len([*work.glob(f'*/{toy_config.name}')]) == 1
    last = f'{toy_config} {work / "epoch_2.pth"}'
    assert tested.endswith(f'  lfi export {last} {work / "export/student.pth"}\n')

    # In mixed precision, without validation, and from an older checkpoint than the last.
    options = ('--amp', '--no-validate', '--auto-scale-lr')
    resumed = run_tool('train.py', toy_config, '--resume', work / 'epoch_1.pth', *options)
    assert 'resumed epoch: 1, iter: 4' in resumed
    # The config goes to its file.
    assert 'CPUAmpOptimWrapper' in (work / toy_config.name).read_text()
    assert 'Scaling the original LR by 0.5' in resumed
    assert 'Epoch(val)' not in resumed
    assert 'its data, labels, batch size or processes have changed' not in resumed
    assert 'has checkpoints of an earlier training' not in trained + resumed
    note = 'work has checkpoints of an earlier training, such as epoch_1.pth, and this training overwrites'
    assert note in run_tool('train.py', toy_config, '--no-validate')
    more = ('--resume', work / 'epoch_1.pth', '--cfg-options', 'train_dataloader.batch_size=2')
    assert 'The checkpoint has 4 steps in 1 epochs, and this' in run_tool('train.py', toy_config, *more)


def test_the_teacher_is_cached_before_training_and_not_again(run_tool, tmp_path):
    config = 'lfi_vit-128x6-p8_shapes'
    data = ('train_dataloader.dataset.num_images=12', 'val_dataloader.dataset.num_images=8')
    small = (*data, 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0')
    options = ('--no-validate', '--work-dir', 'work', '--cfg-options', *small, 'train_cfg.max_epochs=1')
    options = (*options, 'train_dataloader.batch_size=4', 'default_hooks.logger.interval=1')
    cached = run_tool('train', config, '--cache-teacher', *options)
    again = run_tool('train', config, '--cache-teacher', *options)
    assert (tmp_path / 'work' / 'teacher_cache' / 'manifest.json').is_file()
    assert '12/12' in cached and '0/12' in cached and '0/12' not in again
    losses = [re.findall(r' loss: ([\d.]+)', output) for output in (cached, again)]
    assert len(losses[0]) == 3 and losses[0] == losses[1]
    # A cache that `lfi cache --views` wrote serves as it is.
    run_tool('cache', config, '--out', 'views', '--views', 2, '--cfg-options', *small)
    served = run_tool('train', config, '--cache-teacher', 'views', *options)
    assert len(re.findall(r' loss: [\d.]+', served)) == 3


def test_training_goes_on_after_a_kill(run_tool, tool_command, tool_env, warm_python, toy_config):
    work = toy_config.parent / 'work'
    command = tool_command('train.py', toy_config, '--cfg-options', 'train_cfg.max_epochs=10000')
    with subprocess.Popen(
        warm_python.command(*command[1:]), env=tool_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while not (work / 'epoch_3.pth').exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        # The pipe's end: what writes is gone.
        process.stdout.read()
    last = max(work.glob('epoch_*.pth'), key=epoch_of)
    epoch = epoch_of(last)

    # What a kill during a write leaves where writes are not atomic.
    truncated = work / f'epoch_{epoch + 1}.pth'
    truncated.write_bytes(last.read_bytes()[:1000])
    (work / 'last_checkpoint').write_text(str(truncated))
    output = run_tool(
        'train.py', toy_config, '--resume', '--cfg-options', f'train_cfg.max_epochs={epoch + 1}'
    )
    assert f'{truncated} is corrupted' in output
    assert f'Resuming from {last}' in output
    assert f'resumed epoch: {epoch}, iter: {4 * epoch}' in output
    # Whether the kill came before or after the validation of the checkpoint: it is done, and once.
    validated = [row['step'] for row in read_scalars(work) if 'loss' not in row]
    assert validated == list(range(1, epoch + 2))
    assert torch.load(truncated, map_location='cpu', weights_only=False)['meta']['epoch'] == epoch + 1


def test_mistakes_end_with_one_line(run_tool, toy_config):
    output = run_tool('train.py', 'no_such_config.py', code=2)
    assert re.fullmatch(
        'lfi train: error: argument config: there is no config no_such_config.py; similar names are .*\n',
        output,
    )
    truncated = toy_config.parent / 'truncated.pth'
    truncated.touch()
    output = run_tool('train.py', toy_config, '--resume', truncated, code=1)
    assert re.search(f'^error: {truncated} is truncated or corrupted', output, re.MULTILINE)
    assert 'Traceback' not in output


def test_a_training_without_a_batch_saves_no_student(run_tool, toy_config):
    options = ('train_dataloader.batch_size=64', 'train_dataloader.drop_last=True', 'param_scheduler=None')
    output = run_tool('train.py', toy_config, '--cfg-options', *options, code=1)
    assert re.search(
        r'^error: train_dataloader has no batch: \d+ images, 1 processes, batch_size=64, drop_last=True',
        output,
        re.MULTILINE,
    )
    assert not list(toy_config.parent.glob('work/*.pth'))


def test_a_step_outside_record_view_ends_training_with_a_cache(run_tool, toy_config):
    steps = "[dict(type='RandomFlip', prob=1.0), dict(type='lfi.LoadInteractionMaps', cache='maps')]"
    with toy_config.open('a') as file:
        file.write(f"train_dataloader['dataset']['pipeline'] = pipeline + {steps}\n")
    output = run_tool('train.py', toy_config, code=1)
    assert re.search('^error: .* the step RandomFlip outside lfi.RecordView', output, re.MULTILINE)


def test_print_config(run_tool, toy_config):
    saved = toy_config.parent / 'saved.py'
    arguments = ('--cfg-options', 'train_cfg.max_epochs=7', '--save-path', saved)
    output = run_tool('print-config', toy_config, *arguments)
    assert Config.fromfile(saved).train_cfg == dict(by_epoch=True, max_epochs=7)
    assert saved.read_text() in output
