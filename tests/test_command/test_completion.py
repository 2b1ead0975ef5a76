"""What a shell offers when a user presses the tab key."""

import subprocess
import sys

import pytest
from lfi.command import completion
from lfi.command.table import commands, script_of
from lfi.config_files import config_names


@pytest.fixture(scope='module')
def offered(tmp_path_factory):
    """`offered(words...)` is what bash offers for the last word."""
    file = tmp_path_factory.mktemp('completion') / 'lfi.bash'
    with pytest.MonkeyPatch.context() as patch, file.open('w') as out:
        patch.setattr(sys, 'argv', ['lfi', 'bash'])
        patch.setattr(sys, 'stdout', out)
        completion.main()

    def ask(*words):
        line = ' '.join(f"'{word}'" for word in ('lfi', *words))
        asked = f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _lfi'
        code = f'. {file}; {asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        process = subprocess.run(['bash', '-c', code], capture_output=True, text=True)
        assert not process.stderr
        return process.stdout.split()

    return ask


def test_commands(offered):
    assert offered('') == commands()
    assert offered('eval-p') == ['eval-pseudo-labels']


def test_options_of_the_command(offered):
    assert offered('train', '--re') == ['--resume']
    assert offered('train', 'config.py', '--amp', '--work') == ['--work-dir']
    assert offered('export', '--work') == []


def test_configs(offered):
    assert offered('train', 'lfi_vit-tiny_shapes') == [
        name for name in config_names() if name.startswith('lfi_vit-tiny_shapes')
    ]
    assert offered('completion', 'z') == ['zsh']
    # The shell offers files.
    assert offered('train', 'configs/') == []
    assert offered('pretrain', 'lfi') == []


def test_options_are_those_of_the_help_and_no_others():
    options = completion.options_of(script_of('print-config'))
    assert options == ['--cfg-options', '--help', '--save-path']


def test_zsh_takes_the_code_of_bash(monkeypatch, capsys):
    monkeypatch.setattr(completion, 'options_of', lambda script: [])
    printed = []
    for shell in ('bash', 'zsh'):
        monkeypatch.setattr(sys, 'argv', ['lfi', shell])
        completion.main()
        printed.append(capsys.readouterr().out)
    assert printed[1].endswith(printed[0])
    assert printed[1].startswith('autoload -U +X bashcompinit && bashcompinit\n')
