"""Console output of a training, in a terminal and elsewhere."""

import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from logging import FileHandler

import pytest
import torch
from lfi.engine import launch
from lfi.engine.hooks import progress
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, METRICS, MODELS

CONTROL = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Lines that stay on the screen; the bar is overwritten in place."""
        text = CONTROL.sub('', self.getvalue())
        return [line.split('\r')[-1].rstrip() for line in text.replace('\r\n', '\n').split('\n')]


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '130')
    # Each step is drawn.
    monkeypatch.setattr(progress, 'REFRESH', -1)
    return Terminal()


@MODELS.register_module()
class ProgressToy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        out = self.layer(torch.stack(inputs))
        return dict(loss_a=out.square().mean(), loss_b=out.abs().mean()) if mode == 'loss' else [out]


@METRICS.register_module()
class ProgressScore(BaseMetric):
    """A score of 10, 30, 20, ... per validation."""

    scores = (10.0, 30.0, 20.0)
    count = 0

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        self.count += 1
        return {'score': self.scores[self.count - 1], 'other[red]': 1.0}


@HOOKS.register_module()
class ProgressFailure(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        raise RuntimeError('failed on purpose')


@pytest.fixture
def cfg(tmp_path):
    def loader():
        images = [dict(inputs=torch.ones(2)) for _ in range(6)]
        return dict(batch_size=2, dataset=images, sampler=dict(type='DefaultSampler', shuffle=False))

    cfg = dict(
        experiment_name=tmp_path.name,
        work_dir=str(tmp_path),
        model=dict(type='ProgressToy'),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=dict(type='ProgressScore'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', save_best='score', rule='greater'),
        ),
    )
    return Config(cfg)


def train(cfg, stdout=None):
    launch.prepare_training(cfg)
    with redirect_stdout(stdout or sys.stdout):
        launch.run_training(cfg)


def without_validation(cfg):
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(name)
    cfg.default_hooks.checkpoint.save_best = None


def log_of(folder) -> str:
    (log,) = folder.glob('*/*.log')
    return log.read_text()


def test_a_terminal_shows_a_bar_and_a_line_an_epoch(cfg, terminal, tmp_path):
    train(cfg, terminal)
    shown = CONTROL.sub('', terminal.getvalue())
    assert re.search(r'epoch 2/3 .*4/9 loss [\d.]+ 0:00:0\d left', shown)
    assert 'Epoch(' not in shown and 'Saving checkpoint' not in shown
    assert 'Epoch(train) [3][3/3]' in log_of(tmp_path) and 'Saving checkpoint' in log_of(tmp_path)
    rows = [line.split() for line in terminal.lines() if re.match(r' *(epoch  |\d/3 )', line)]
    assert rows[0] == ['epoch', 'lr', 'loss', *rows[0][3:5], 'score', 'other[red]', 'seconds']
    assert {*rows[0][3:5]} == {'loss_a', 'loss_b'}
    assert [(row[0], row[5], row[-1] == 'best') for row in rows[1:]] == [
        ('1/3', '10', True),
        ('2/3', '30', True),
        ('3/3', '20', False),
    ]
    assert 'Data: 6 training images' in shown


def test_elsewhere_the_lines_of_mmengine_stay(cfg, capsys):
    train(cfg)
    shown = capsys.readouterr().out
    assert 'Epoch(train) [3][3/3]' in shown and 'Saving checkpoint' in shown
    assert not re.search('^ *epoch  ', shown, re.MULTILINE)


def test_color_that_is_forced_makes_no_terminal(cfg, capsys, monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')
    train(cfg)
    assert 'Epoch(train) [3][3/3]' in capsys.readouterr().out


def test_epochs_without_validation_have_their_lines(cfg, terminal):
    without_validation(cfg)
    train(cfg, terminal)
    rows = [line.split() for line in terminal.lines() if re.match(r' *\d/3 ', line)]
    assert [row[0] for row in rows] == ['1/3', '2/3', '3/3'] and 'best' not in terminal.getvalue()


def test_a_training_by_iterations_has_a_line_a_validation(cfg, terminal):
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=2)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=False)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2)
    train(cfg, terminal)
    rows = [line.split() for line in terminal.lines() if re.match(r' *(iteration  |\d/6 )', line)]
    assert [row[0] for row in rows] == ['iteration', '2/6', '4/6', '6/6']
    assert [row[-1] == 'best' for row in rows[1:]] == [True, True, False]


def test_a_training_by_iterations_without_validation_has_twenty_lines(cfg, terminal):
    without_validation(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=50)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=False)
    cfg.default_hooks.checkpoint.by_epoch = False
    train(cfg, terminal)
    rows = [line.split()[0] for line in terminal.lines() if re.match(r' *\d+/50 ', line)]
    assert rows == [f'{done}/50' for done in [*range(3, 50, 3), 50]]


def test_a_flexible_runner_shows_the_same(cfg, terminal):
    cfg.update(runner_type='FlexibleRunner', env_cfg={})
    train(cfg, terminal)
    rows = [line.split() for line in terminal.lines() if re.match(r' *\d/3 ', line)]
    assert [row[0] for row in rows] == ['1/3', '2/3', '3/3']


def test_an_error_gives_the_console_back(cfg, terminal):
    cfg.custom_hooks = [dict(type='ProgressFailure')]
    with pytest.raises(RuntimeError, match='failed on purpose'):
        train(cfg, terminal)
    handlers = MMLogger.get_current_instance().handlers
    assert [handler.stream for handler in handlers if not isinstance(handler, FileHandler)] == [terminal]
    # The cursor is shown again.
    assert terminal.getvalue().rindex('\x1b[?25h') > terminal.getvalue().rindex('\x1b[?25l')


def test_the_hook_can_be_left_out(cfg, terminal):
    cfg.default_hooks.progress = None
    train(cfg, terminal)
    assert 'Epoch(train) [3][3/3]' in terminal.getvalue() and ' left' not in terminal.getvalue()
