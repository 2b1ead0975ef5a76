"""The commands that a command prints at its end."""

from pathlib import Path

import pytest
from lfi.cli import train
from lfi.utils import next_commands
from mmengine import dist
from mmengine.config import Config


def test_commands_are_quoted_for_a_shell(capsys):
    next_commands.print_next(['lfi', 'test', 'my config.py', "it's.pth"], ['lfi', 'doctor'])
    assert capsys.readouterr().out == "Next:\n  lfi test 'my config.py' 'it'\"'\"'s.pth'\n  lfi doctor\n"


def test_nothing_is_printed_without_commands_and_by_other_processes(capsys, monkeypatch):
    next_commands.print_next()
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    next_commands.print_next(['lfi', 'doctor'])
    assert capsys.readouterr().out == ''


def test_options_stay_and_an_address_is_no_folder():
    options = {'data_root': '/my data', 'model.head': None}
    (command,) = next_commands.export_commands('a.py', 'https://a/b.pth', options)
    assert command[2:5] == ['a.py', 'https://a/b.pth', 'work_dirs/export/student.pth']
    assert command[5:] == ['--cfg-options', 'data_root=/my data', 'model.head=None']


@pytest.mark.parametrize(
    ('changes', 'commands'),
    [
        (dict(test_dataloader=dict(a=1), test_evaluator=[dict(type='Accuracy')]), ['test', 'infer']),
        (dict(test_dataloader=dict(a=1), test_evaluator=[]), ['infer']),
        (dict(), []),
    ],
)
def test_a_trained_model_is_tested_and_asked_as_far_as_it_can(changes, commands, tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), **changes), cfg_text=' ', filename='configs/mine.py')
    assert train.trained_checkpoint(cfg) is None
    for name in ('epoch_1.pth', 'best_accuracy_epoch_1.pth'):
        (tmp_path / name).touch()
    checkpoint = train.trained_checkpoint(cfg)
    assert checkpoint == str(tmp_path / 'best_accuracy_epoch_1.pth')
    found = train.commands_for_trained(cfg, checkpoint)
    assert [command[1] for command in found] == commands
    assert all(command[2:4] == [str(tmp_path / 'mine.py'), checkpoint] for command in found)
    assert not found or Path(found[-1][-1]) == tmp_path / 'seen'
