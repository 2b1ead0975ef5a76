import json
import os
import re
import signal
import subprocess

import pytest
import torch
from torch.distributed.elastic.utils.distributed import get_free_port

SCRIPTS = ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']

# Saves the weights of every process, not only of the first.
HOOK = """
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SaveRank(Hook):
    def after_train(self, runner):
        torch.save(runner.model.module.state_dict(), f'{runner.work_dir}/rank{runner.rank}.pth')
"""

RECORDER = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$RECORD"
echo "${MASTER_PORT:-}" > "$RECORD.port"
"""


def test_two_processes_train_resume_and_test(run_tool, tool_env, toy_config):
    folder, work = toy_config.parent, toy_config.parent / 'work dir'
    (folder / 'save_rank.py').write_text(HOOK)
    with toy_config.open('a') as config:
        config.write("custom_imports = dict(imports=['save_rank'])\ncustom_hooks = [dict(type='SaveRank')]\n")
    path = f'{folder}:{tool_env["PYTHONPATH"]}'
    arguments = ('dist_train.sh', toy_config, 2, '--work-dir', work, '--cfg-options')
    run_tool(*arguments, 'train_cfg.max_epochs=1', PYTHONPATH=path, PORT=str(get_free_port()))
    first = torch.load(work / 'rank0.pth')
    assert len(list(work.glob('*/*.log'))) == 1

    command = list(arguments)
    command.insert(-1, '--resume')
    variables = dict(PYTHONPATH=path, PORT=str(get_free_port()), LFI_REPORT='1')
    output = run_tool(*command, 'train_cfg.max_epochs=2', **variables)
    assert 'resumed epoch: 1, iter: 2' in output
    # One process writes the page, when the other has ended.
    assert output.count(f'Report: {work / "report.html"}') == 1
    assert 'of 8 validation images' in (work / 'report.html').read_text()
    ranks = [torch.load(work / f'rank{rank}.pth') for rank in range(2)]
    saved = torch.load(work / 'epoch_2.pth', weights_only=False)['state_dict']
    for name, value in saved.items():
        assert ranks[0][name].equal(value)
        assert ranks[1][name].equal(value)
    assert not all(first[name].equal(saved[name]) for name in saved)

    metrics = folder / 'metrics.json'
    options = ('--out', metrics, '--out-item', 'metrics')
    port = str(get_free_port())
    run_tool('dist_test.sh', toy_config, work / 'epoch_2.pth', 2, *options, PYTHONPATH=path, PORT=port)
    assert 0 <= json.loads(metrics.read_text())['accuracy/top1'] <= 100


# Slow enough to be killed in the middle of an epoch; and each process says who it is.
SLOW = """
import os, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Slow(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        print(f'rank {runner.rank} pid {os.getpid()} epoch {runner.epoch} step {batch_idx}', flush=True)
        time.sleep(0.3)
"""


def test_a_killed_worker_starts_anew_and_goes_on(tool_command, tool_env, warm_python, toy_config):
    folder, work = toy_config.parent, toy_config.parent / 'work'
    (folder / 'slow.py').write_text(SLOW)
    with toy_config.open('a') as config:
        config.write("custom_imports = dict(imports=['slow'])\ncustom_hooks = [dict(type='Slow')]\n")
    env = {**tool_env, 'PYTHONPATH': f'{folder}:{tool_env["PYTHONPATH"]}'}
    env |= {'PYTHON': warm_python.executable, 'PORT': str(get_free_port()), 'MAX_RESTARTS': '1'}
    command = tool_command('dist_train.sh', toy_config, 2, '--cfg-options', 'train_cfg.max_epochs=3')
    lines, killed = [], False
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            lines.append(line)
            found = re.search(r'rank 1 pid (\d+) epoch 1 step 1', line)
            if found and not killed:
                killed = True
                os.kill(int(found[1]), signal.SIGKILL)
    output = ''.join(lines)
    assert killed and process.returncode == 0, output
    assert 'resumed epoch: 1, iter: 2' in output
    # The epoch that was cut off is done again, and no other.
    epochs = re.findall(r'rank 0 pid \d+ epoch (\d) step 0', output)
    assert epochs == ['0', '1', '1', '2']
    assert (work / 'last_checkpoint').read_text().endswith('epoch_3.pth')


def test_two_nodes_train_together(tool_command, tool_env, warm_python, toy_config):
    shared = {**tool_env, 'PYTHON': warm_python.executable, 'PORT': str(get_free_port())}
    shared |= {'NNODES': '2', 'MASTER_ADDR': '127.0.0.1'}
    command = tool_command('dist_train.sh', toy_config, 1, '--cfg-options', 'train_cfg.max_epochs=1')
    # A pipe that is not read would stop its node, and the other would wait for it.
    logs = [toy_config.parent / f'node-{rank}.log' for rank in range(2)]
    nodes = []
    for rank, log in enumerate(logs):
        env = {**shared, 'NODE_RANK': str(rank)}
        with log.open('w') as out:
            nodes.append(
                subprocess.Popen(
                    command, cwd=toy_config.parent, env=env, stdout=out, stderr=subprocess.STDOUT
                )
            )
    try:
        for node in nodes:
            node.wait(timeout=300)
    except subprocess.TimeoutExpired:
        pytest.fail('\n'.join(log.read_text() for log in logs))
    finally:
        for node in nodes:
            node.kill()
    outputs = [log.read_text() for log in logs]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    # Four steps of four images, shared by two.
    assert 'Epoch(train) [1][2/2]' in re.sub(' +', ' ', outputs[0])
    assert (toy_config.parent / 'work/epoch_1.pth').exists()


@pytest.fixture
def recorder(tmp_path):
    """A program that writes down its arguments, in the place of `srun` and of Python."""
    for name in ('srun', 'python'):
        program = tmp_path / 'bin' / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(RECORDER)
        program.chmod(0o755)
    return tmp_path / 'bin'


@pytest.fixture
def record(run_tool, tool_env, recorder, tmp_path):
    """`record(script, *args, **variables)` gives the arguments with which the script starts its program."""

    def run(script: str, *args, **variables: str) -> list[str]:
        programs = {
            'PATH': f'{recorder}:{tool_env["PATH"]}',
            'PYTHON': 'python',
            'RECORD': str(tmp_path / 'record'),
        }
        run_tool(script, *args, **programs, **variables)
        return (tmp_path / 'record').read_text().splitlines()

    return run


def test_dist_scripts_pass_arguments_on(record):
    variables = {'NNODES': '2', 'NODE_RANK': '1', 'PORT': '1234', 'MASTER_ADDR': 'host'}
    options = ['--cfg-options', 'a=x y', 'b="[1,2]"']
    argv = record('dist_train.sh', 'my config.py', 4, *options, **variables)
    start = ['--nnodes=2', '--node_rank=1', '--master_addr=host', '--master_port=1234', '--nproc_per_node=4']
    assert argv[:8] == ['-m', 'torch.distributed.run', *start, '--max_restarts=0']
    assert argv[8].endswith('/tools/train.py')
    assert argv[9:] == ['my config.py', '--launcher', 'pytorch', *options]
    assert record('dist_train.sh', 'c.py', 4)[-3:] == ['c.py', '--launcher', 'pytorch']
    # Who starts anew goes on from the last checkpoint, with a store that holds no addresses of the dead.
    argv = record('dist_train.sh', 'c.py', 4, *options, MAX_RESTARTS='3', PORT='1234')
    assert '--max_restarts=3' in argv
    rendezvous = ['--rdzv_backend=c10d', '--rdzv_endpoint=127.0.0.1:1234', '--rdzv_id=1234']
    assert argv[2:7] == ['--nnodes=1', *rendezvous, '--local_addr=127.0.0.1']
    assert argv[-5:] == ['pytorch', '--resume', *options]
    argv = record('dist_train.sh', 'c.py', 4, '--resume', 'x.pth', MAX_RESTARTS='3')
    assert argv[-3:] == ['pytorch', '--resume', 'x.pth']
    argv = record('dist_train.sh', 'c.py', 4, MAX_RESTARTS='3', **variables)
    assert argv[2:5] == ['--nnodes=2', '--rdzv_backend=c10d', '--rdzv_endpoint=host:1234']
    assert not any(argument.startswith('--local_addr') for argument in argv)
    argv = record('dist_test.sh', 'my config.py', 'my model.pth', 4, *options)
    assert argv[8:] == ['my config.py', 'my model.pth', '--launcher', 'pytorch', *options]


def test_slurm_scripts_pass_arguments_on(record):
    options = ['--cfg-options', 'a=x y']
    variables = {'GPUS': '4', 'CPUS_PER_TASK': '3', 'SRUN_ARGS': '--qos=high --time=1:00'}
    argv = record('slurm_train.sh', 'part', 'my job', 'my config.py', 'my dir', *options, **variables)
    assert argv[:5] == ['-p', 'part', '--job-name=my job', '--gres=gpu:4', '--ntasks=4']
    assert argv[5:8] == ['--ntasks-per-node=4', '--cpus-per-task=3', '--kill-on-bad-exit=1']
    assert argv[8:12] == ['--qos=high', '--time=1:00', 'python', '-u']
    assert argv[12].endswith('/tools/train.py')
    assert argv[13:] == ['my config.py', '--work-dir=my dir', '--launcher=slurm', *options]
    argv = record('slurm_test.sh', 'part', 'my job', 'my config.py', 'my model.pth', *options)
    assert argv[3:6] == ['--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8']
    assert argv[-5:] == ['my config.py', 'my model.pth', '--launcher=slurm', *options]


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_scripts_take_the_port(record, tmp_path, script):
    record(script, 'part', 'my job', 'c.py', 'dir', PORT='29503')
    assert (tmp_path / 'record.port').read_text() == '29503\n'
    record(script, 'part', 'my job', 'c.py', 'dir')
    assert (tmp_path / 'record.port').read_text() == '\n'


@pytest.mark.parametrize('script', SCRIPTS)
def test_scripts_say_how_they_are_used(run_tool, tool_command, script):
    interpreter, path = tool_command(script)
    subprocess.run([interpreter, '-n', path], check=True)
    assert 'Usage: ' in run_tool(script, code=2)
