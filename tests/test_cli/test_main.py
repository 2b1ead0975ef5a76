"""`lfi` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lfi.cli.main import CLOSED_PIPE, commands, summary

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *('matplotlib', 'mmcv', 'mmdet', 'mmpretrain', 'open_clip', 'scipy', 'timm', 'torch', 'torchvision'),
    *('lfi.datasets', 'lfi.engine', 'lfi.evaluation', 'lfi.models'),
)
# Several command lines in one process, which begins anew as far as a command line can see.
RUN = """
import contextlib, io, json, sys
from lfi.cli import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv = ['lfi', *words]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found.append((code, out.getvalue(), err.getvalue()))
print(json.dumps([found, sorted({*HEAVY} & set(sys.modules))]))
"""
LINES = {
    'help': ['--help'],
    'nothing': [],
    'version': ['--version'],
    'typo': ['trian', 'x'],
    'no command': ['zzzzzz'],
    'option': ['train', 'lfi_vit-128x6-p8_shapes', '--amq'],
    'config': ['print-config', 'lfi_vit-tny_shapes'],
    **{name: [name, '--help'] for name in commands()},
}


@pytest.fixture(scope='module')
def said(tool_env, tmp_path_factory):
    """What `lfi` says, `(code, stdout, stderr)`, and no more of the stack is imported than it needs."""
    command = [sys.executable, '-c', f'HEAVY = {HEAVY}\n{RUN}', json.dumps(list(LINES.values()))]
    folder = tmp_path_factory.mktemp('folder')
    process = subprocess.run(command, cwd=folder, env=tool_env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    found, heavy = json.loads(process.stdout)
    assert not heavy
    return dict(zip(LINES, found))


def test_the_help_has_a_line_for_each_command(said):
    code, out, _ = said['help']
    assert code == 0 and said['nothing'][1] == out
    for command in commands():
        assert f'  {command.ljust(max(map(len, commands())))}  {summary(command)}\n' in out
    assert max(map(len, out.splitlines()[:-2])) < 120
    from lfi import __version__

    assert said['version'][1] == f'{__version__}\n'


@pytest.mark.skipif(sys.version_info < (3, 11), reason='Python has no -P')
def test_the_module_imports_nothing_of_a_strangers_folder(tool_env, tmp_path):
    for name in ('lfi', 'matplotlib', 'mmengine', 'torch'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit("run")')
    command = [sys.executable, '-P', '-m', 'lfi', 'train', 'lfi_vit-128x6-p8_shapes', '--help']
    process = subprocess.run(command, cwd=tmp_path, env=tool_env, capture_output=True, text=True)
    assert process.returncode == 0 and process.stdout.startswith('usage: lfi train'), process.stderr


@pytest.mark.parametrize('command', commands())
def test_the_help_of_a_command_shows_what_was_typed(said, command):
    code, out, _ = said[command]
    assert code == 0
    assert out.startswith(f'usage: lfi {command} ')
    assert summary(command) in ' '.join(out.split())


@pytest.mark.parametrize(
    ('line', 'says'),
    [
        ('typo', 'lfi: error: there is no command trian; did you mean train? (all arguments: lfi --help)'),
        ('no command', 'lfi: error: there is no command zzzzzz (all arguments: lfi --help)'),
        (
            'option',
            'lfi train: error: unrecognized arguments: --amq; did you mean --amp? '
            '(all arguments: lfi train --help)',
        ),
        (
            'config',
            'lfi print-config: error: argument config: there is no config lfi_vit-tny_shapes; similar names',
        ),
    ],
)
def test_a_mistake_ends_in_one_line_that_says_what_to_type(said, line, says):
    code, out, err = said[line]
    assert (code, out) == (2, '')
    assert err.startswith(says) and err.count('\n') == 1


def test_every_command_has_a_file_and_every_file_a_command():
    shared = {'__init__', 'arguments', 'first_steps', 'main', 'running'}
    files = {path.stem for path in (ROOT / 'projects/lfi/cli').glob('*.py')} - shared
    assert {name.replace('-', '_') for name in commands()} == files


@pytest.fixture
def lfi(warm_python, tmp_path):
    """Run `lfi` in the test's folder, as its console script does."""
    script = tmp_path / 'lfi'
    script.write_text('from lfi.cli import main\nmain()\n')

    def run(*words, code=0):
        process = warm_python.run([script, *words], tmp_path)
        assert process.returncode == code, process.stdout
        return process.stdout

    return run


def test_a_model_is_trained_by_a_name_and_tested(lfi, tmp_path):
    small = [
        'train_cfg.max_epochs=1',
        *(f'{part}_dataloader.dataset.num_images=16' for part in ('train', 'val', 'test')),
        *(f'{part}_dataloader.num_workers=0' for part in ('train', 'val', 'test')),
    ]
    lfi('train', 'task-loss_vit-128x6-p8_shapes', '--work-dir', 'work', '--cfg-options', *small)
    assert (tmp_path / 'work/task-loss_vit-128x6-p8_shapes.py').is_file()
    checkpoint = next((tmp_path / 'work').glob('epoch_1.pth'))
    printed = lfi(
        'test', 'lfi::baselines/task-loss_vit-128x6-p8_shapes.py', checkpoint, '--cfg-options', *small
    )
    assert 'accuracy/top1' in printed


def test_an_error_of_a_run_is_one_line(lfi):
    printed = lfi('test', 'task-loss_vit-128x6-p8_shapes', 'gone.pth', code=1)
    assert printed.splitlines()[-1] == 'error: checkpoint gone.pth does not exist'


def test_a_closed_pipe_ends_a_command_without_a_traceback():
    script = (
        "import importlib; main = importlib.import_module('lfi.cli.main')\n"
        "main._run_command_line = lambda: [print('a line of text', flush=True) for _ in range(100_000)]\n"
        'main.main()'
    )
    tool = subprocess.Popen(
        [sys.executable, '-c', script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert tool.stdout.readline() == 'a line of text\n'
    tool.stdout.close()
    assert tool.wait() == CLOSED_PIPE and not tool.stderr.read()
    tool.stderr.close()
