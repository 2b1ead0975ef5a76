"""Hook that shows a training in a terminal: a bar with the time left, and a line an epoch."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from mmengine import dist
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MessageHub
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from lfi.engine.epoch_table import EpochTable, number_text
from lfi.registry import HOOKS

FILE_ONLY = (
    'Epoch(',
    'Iter(',
    'Exp name:',
    'Saving checkpoint at',
    'The best checkpoint with',
    'The previous best checkpoint',
)
"""First words of MMEngine's messages that the bar and the lines replace on the console."""
LINES_WITHOUT_VALIDATION = 20
"""Number of lines of a training by iterations that has no validation."""
REFRESH = 0.2
"""Seconds between two updates of the bar."""


@HOOKS.register_module()
class ProgressHook(Hook):
    """Hook that draws a progress bar in a terminal, and prints a line after each epoch.

    A line has the epoch, the learning rate, the mean loss with its largest terms, the validation metrics and
    the seconds with validation. It says `best` where `CheckpointHook` has found a new best. A training by
    iterations has a line for each validation. Meanwhile MMEngine's lines of iterations, validations and
    checkpoints go to the log file alone.

    Without a terminal, as in a file, a pipe or a notebook, and in processes other than the first, the hook
    does nothing: MMEngine's lines have the same numbers.

    `lfi train` adds the hook. `default_hooks=dict(progress=None)` leaves it out.
    """

    # After CheckpointHook, which knows the best validation.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._display: _Display | None = None

    def before_train(self, runner: Runner) -> None:
        """Draw the bar, if there is a terminal."""
        console = terminal() if dist.is_main_process() else None
        if console is not None:
            self._display = _Display(runner, console)

    def before_train_epoch(self, runner: Runner) -> None:
        """Print the line of the last epoch, if it had no validation."""
        if self._display is not None:
            self._display.print_pending()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Update the bar."""
        if self._display is not None:
            self._display.after_iteration()

    def after_train_epoch(self, runner: Runner) -> None:
        """Begin the line of the epoch."""
        if self._display is not None and self._display.by_epoch:
            self._display.begin_line()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far the validation is."""
        if self._display is not None:
            self._display.show_validation(batch_idx)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Print the line with the metrics."""
        if self._display is not None:
            self._display.end_line(metrics or {})

    def after_train(self, runner: Runner) -> None:
        """Print the last line, and remove the bar."""
        if self._display is not None:
            self._display.print_pending()
        self.close()

    def close(self) -> None:
        """Remove the bar, and give the console back. `run_training` also calls this after an error."""
        if self._display is not None:
            self._display.close()
            self._display = None


def terminal() -> Console | None:
    """Return the console of standard output, or None if it is no terminal that can redraw a line."""
    # FORCE_COLOR makes rich take any stream for a terminal.
    if not sys.stdout.isatty():
        return None
    console = Console(highlight=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


class _Display:
    """Bar and lines of a training, from now on.

    Args:
        runner: Runner of the training.
        console: console of the terminal.
    """

    def __init__(self, runner: Runner, console: Console) -> None:
        self.runner = runner
        loop = runner.train_loop
        self.by_epoch = isinstance(loop, EpochBasedTrainLoop)
        self._line_interval = 0
        if not self.by_epoch and runner.val_loop is None:
            self._line_interval = -(-runner.max_iters // LINES_WITHOUT_VALIDATION)
        self._table = EpochTable(console.width)
        self._head: dict[str, str] = {}
        self._losses: dict[str, float] = {}
        self._last_line = self._done = runner.iter
        self._first: int | None = None
        self._start = self._line_start = time.monotonic()
        self._drawn = 0.0
        self._best = _best_score(runner)
        # No thread refreshes the bar: data loaders fork, and a fork may copy a lock that a thread holds.
        self._progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TextColumn('{task.completed}/{task.total}'),
            TextColumn('{task.fields[loss]}', markup=False),
            TextColumn('{task.fields[left]}'),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task(
            self._position(runner.epoch + 1), total=runner.max_iters, completed=runner.iter, loss='', left=''
        )
        self._on_close = ExitStack()
        self._progress.start()
        self._on_close.callback(self._progress.stop)
        self._route_logs()
        self._progress.refresh()

    def close(self) -> None:
        """Remove the bar, and restore the streams."""
        self._on_close.close()

    def _route_logs(self) -> None:
        """Let the console's log handlers write above the bar, without the lines of iterations."""
        for handler in self.runner.logger.handlers:
            # A FileHandler is a StreamHandler too.
            if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
                continue
            handler.addFilter(_is_for_console)
            self._on_close.callback(handler.removeFilter, _is_for_console)
            before = handler.setStream(sys.stdout)
            self._on_close.callback(handler.setStream, before)

    def after_iteration(self) -> None:
        """Update the bar if it is old, and print a line by iterations if one is due."""
        # Hooks run before the loop counts the iteration.
        self._done = self.runner.iter + 1
        if self._first is None:
            # The first iteration is slower, and says little of the others.
            self._first, self._start = self._done, time.monotonic()
        is_last = self._done == self.runner.max_iters
        if self._line_interval and (self._done % self._line_interval == 0 or is_last):
            self.begin_line()
            self.end_line({})
        if is_last or time.monotonic() - self._drawn > REFRESH:
            self._draw(self._position(self.runner.epoch + 1))

    def show_validation(self, batch_idx: int) -> None:
        """Show how far the validation is, if the bar is old."""
        if time.monotonic() - self._drawn > REFRESH:
            part = f'validation {batch_idx + 1}/{len(self.runner.val_dataloader)}'
            # The loop has counted the epoch that is validated.
            self._draw(f'{self._position(self.runner.epoch)}, {part}' if self.by_epoch else part)

    def begin_line(self) -> None:
        """Take the losses since the last line."""
        runner, hub = self.runner, self.runner.message_hub
        self._losses = _losses(hub, max(1, self._done - self._last_line))
        # The hook of an epoch's end runs before the loop counts the epoch.
        counted = (
            f'{runner.epoch + 1}/{runner.max_epochs}' if self.by_epoch else f'{self._done}/{runner.max_iters}'
        )
        self._head = {'epoch' if self.by_epoch else 'iteration': counted}
        if 'train/lr' in hub.log_scalars:
            self._head['lr'] = f'{hub.get_scalar("train/lr").current():.2e}'
        if 'loss' in self._losses:
            self._head['loss'] = number_text(self._losses.pop('loss'))
        self._last_line = self._done

    def end_line(self, metrics: Mapping[str, float]) -> None:
        """Print the line, with the metrics of a validation."""
        if not self._head:
            if self.by_epoch:
                # A validation outside the epochs, as after a resumed training has missed one.
                return
            self.begin_line()
        now, best = time.monotonic(), _best_score(self.runner)
        tail = {
            'seconds': f'{now - self._line_start:.1f}',
            '': 'best' if metrics and best != self._best else '',
        }
        for line in self._table.lines(self._head, self._losses, _first_is_best(metrics, self.runner), tail):
            self._progress.console.print(line, markup=False, overflow='ellipsis', no_wrap=True)
        self._head, self._best, self._line_start = {}, best, now

    def print_pending(self) -> None:
        """Print a line that waits for a validation that has not come."""
        if self._head:
            self.end_line({})

    def _position(self, epoch: int) -> str:
        return f'epoch {epoch}/{self.runner.max_epochs}' if self.by_epoch else 'iteration'

    def _draw(self, position: str) -> None:
        self._drawn = now = time.monotonic()
        losses = _losses(self.runner.message_hub, 1)
        loss = f'loss {number_text(losses["loss"])}' if 'loss' in losses else ''
        # The time of validations and checkpoints counts, unlike in MMEngine's eta.
        counted = 0 if self._first is None else self._done - self._first
        left = ''
        if counted:
            seconds = (now - self._start) / counted * (self.runner.max_iters - self._done)
            left = f'{timedelta(seconds=round(seconds))} left'
        shown: dict[str, Any] = dict(description=position, loss=loss, left=left)
        self._progress.update(self._task, completed=self._done, refresh=True, **shown)


def _losses(hub: MessageHub, count: int) -> dict[str, float]:
    """Return the means of the last values of each loss; the hub has them as numbers, so no GPU waits."""
    names = [name.removeprefix('train/') for name in hub.log_scalars if name.startswith('train/')]
    return {name: float(hub.get_scalar(f'train/{name}').mean(count)) for name in names if 'loss' in name}


def _checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return next((hook for hook in hooks if hook.save_best), None)


def _best_score(runner: Runner) -> float | None:
    """Return the best score of the first metric of `save_best` so far; None without one."""
    hook = _checkpoint_hook(runner)
    if hook is None:
        return None
    first = hook.key_indicators[0]
    return runner.message_hub.get_info(
        'best_score' if len(hook.key_indicators) == 1 else f'best_score_{first}'
    )


def _first_is_best(metrics: Mapping[str, float], runner: Runner) -> dict[str, float]:
    """Put the metric of `save_best` first."""
    hook = _checkpoint_hook(runner)
    first = None if hook is None else hook.key_indicators[0]
    return dict(sorted(metrics.items(), key=lambda item: item[0] != first))


def _is_for_console(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FILE_ONLY)
