"""What a shell offers when a user presses the tab key."""

import subprocess

import pytest
from lfi.cli.main import commands
from lfi.config_files import config_names


@pytest.fixture(scope='module')
def offered(run_tool_in, tmp_path_factory):
    """`offered(words...)` is what bash offers for the last word."""
    folder = tmp_path_factory.mktemp('completion')
    file = folder / 'lfi.bash'
    file.write_text(run_tool_in(folder, 'completion', 'bash'))

    def ask(*words):
        line = ' '.join(f"'{word}'" for word in ('lfi', *words))
        asked = f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_lfi'
        code = f'. {file}; {asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        process = subprocess.run(['bash', '-c', code], capture_output=True, text=True, cwd=folder)
        assert not process.stderr
        return process.stdout.split()

    return ask


def test_commands(offered):
    assert offered('') == commands()
    assert offered('eval') == ['eval-teacher']


def test_options_of_the_command(offered):
    assert offered('train', '--re') == ['--resume']
    assert offered('train', 'config.py', '--amp', '--work') == ['--work-dir']
    assert offered('infer', '--work') == []


def test_options_that_follow_from_another_one(offered):
    assert offered('export', '--to', 'o') == ['onnx']
    assert offered('export', '--ops') == ['--opset']
    assert offered('pseudo-label', '--sw') == ['--sweep']


def test_configs_and_files(offered):
    assert set(offered('train', 'lfi_vit-128x6-p8_shapes')) == {
        name for name in config_names() if name.startswith('lfi_vit-128x6-p8_shapes')
    }
    assert offered('completion', 'z') == ['zsh']
    assert offered('train', 'lfi.') == ['lfi.bash']
    assert offered('test', 'lfi_vit-128x6-p8_shapes', 'lfi.') == ['lfi.bash']
