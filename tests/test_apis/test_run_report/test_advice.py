"""Recommendations of a report, whose commands can be typed."""

import math
import shlex
from collections import Counter
from pathlib import Path

import pytest
from lfi.apis.run_report.advice import RunFiles, advice_of_confusions, advice_of_curves, next_commands
from lfi.apis.run_report.confusion import Confusion
from lfi.apis.run_report.history import History
from lfi.cli.main import parser_of
from mmengine.config import Config

CONFIG = Config(dict(max_epochs=4, train_cfg=dict(by_epoch=True, max_epochs=4)))
LOSSES = {'loss': {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}}


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / 'my run'
    folder.mkdir()
    config = folder / 'my config.py'
    config.write_text('')
    return RunFiles(folder, config, folder / 'best.pth')


def advise(files, metric, name='top1', config=CONFIG):
    return advice_of_curves(History('epoch', LOSSES, {name: dict(enumerate(metric, 1))}), config, files)


def parsed(command):
    program, name, *words = shlex.split(command)
    assert program == 'lfi'
    return parser_of(name).parse_args(words)


def test_a_metric_that_still_rises_calls_for_more_epochs(files):
    (advice,) = advise(files, [10, 20, 30, 40])
    assert advice.text.startswith('top1 was still improving: 30 at epoch 3, 40 at epoch 4, the last.')
    args = parsed(advice.command)
    assert args.cfg_options == {'max_epochs': 8}
    assert args.work_dir == str(files.folder.with_name('my run_longer'))


def test_a_metric_that_falls_while_the_loss_falls_calls_for_fewer(files):
    (advice,) = advise(files, [10, 40, 30, 20])
    assert (
        'best at epoch 2 of 4: 40, and 20 at the end, while the training loss fell from 3 to 1' in advice.text
    )
    assert parsed(advice.command).cfg_options == {'max_epochs': 2}


def test_a_loss_as_metric_is_best_where_it_is_lowest(files):
    (advice,) = advise(files, [4, 1, 2, 3], 'val_loss')
    assert 'best at epoch 2 of 4: 1' in advice.text
    (advice,) = advise(files, [4, 3, 2, 1], 'val_loss')
    assert 'still improving' in advice.text


def test_level_curves_and_short_runs_call_for_nothing(files):
    (advice,) = advise(files, [10, 40, 39.9, 39.9])
    assert not advice.command and 'best at epoch 2' in advice.text
    assert advise(files, [10, 20]) == []
    assert advise(files, [10, math.nan, 20]) == []
    assert advice_of_curves(History('epoch', LOSSES, {}), CONFIG, files) == []


def test_a_config_whose_schedule_no_option_scales_gets_no_command(files):
    config = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=4)))
    (advice,) = advise(files, [10, 20, 30, 40], config=config)
    assert not advice.command


class Images:
    def image(self, index):
        return f"folder of $me/{index}'s.jpg"


def test_frequent_confusions_are_looked_at(files):
    pairs = Counter({(0, 0): 6, (0, 1): 4, (1, 0): 1, (1, 1): 9, (2, 0): 2})
    # All images of Fish are wrong, but two say little.
    confusion = Confusion(22, 22, pairs, {(0, 0): 1, (0, 1): 7, (1, 0): 8, (2, 0): 9})
    names = ('a cat', 'dog', 'fish')
    (advice,) = advice_of_confusions(confusion, Images(), ('Cat', 'Dog', 'Fish'), names, files)
    assert advice.text == '4 of 10 images of Cat are taken for Dog. Look at one:'
    args = parsed(advice.command)
    assert args.inputs == [Images().image(7)] and args.texts == ['a cat', 'dog']
    (advice,) = advice_of_confusions(confusion, Images(), ('Cat', 'Dog', 'Fish'), (), files)
    assert parsed(advice.command).texts is None


def test_the_commands_after_a_run_can_be_typed(files):
    files.checkpoint.touch()
    for has_test in (False, True):
        for answers in (False, True):
            commands = [advice.command for advice in next_commands(files, has_test, answers)]
            assert ['test' in command.split() for command in commands].count(True) == has_test
            for args in map(parsed, commands):
                assert Path(args.config) == files.config and args.checkpoint == str(files.checkpoint)
