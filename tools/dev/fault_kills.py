"""Runs that are killed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_bench import (
    EPOCHS,
    RESUMED,
    STEPS,
    Bench,
    NotSurvivedError,
    Run,
    partial_files,
    require,
    times,
)
from fault_row import Row
from lfi.engine import CheckpointError
from lfi.engine.checkpoints.reading import load_from_local


class Kill:
    """`kill -9` at one kind of moment.

    Args:
        made: the moment, in words.
        wait: lets a run come to it; whether it did before its end.
    """

    def __init__(self, made: str, wait: Callable[[Bench, Run], bool]) -> None:
        self.made, self._wait = made, wait
        self.times = self.truncated = self.repeated = 0

    def strike(self, bench: Bench, run: Run) -> bool:
        """Kill a run; False if it ended before."""
        if not run.wait_for(lambda: run.iterations):
            return False
        before = partial_files(bench)
        if not self._wait(bench, run):
            return False
        run.kill()
        if run.process.exitcode == 0:
            return False
        self.times += 1
        self.truncated += not partial_files(bench).items() <= before.items()
        return True

    def row(self) -> Row:
        return Row(
            '`kill -9`',
            self.made,
            self.times,
            f'`--resume` goes on; {self.truncated} files were being written; `last_checkpoint` named none of '
            'them',
            f'at most {self.repeated} iterations, done again ({STEPS} an epoch)',
        )


def at_any_time(bench: Bench, run: Run) -> bool:
    return run.sleep(bench.random.uniform(0, 3) * bench.epoch_seconds)


def in_the_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and next_change(bench, run, '.*.partial')


def after_the_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and next_change(bench, run, '*.pth')


def next_change(bench: Bench, run: Run, pattern: str) -> bool:
    before = times(bench, pattern)
    return run.wait_for(lambda: times(bench, pattern) != before)


def kills(bench: Bench) -> Iterator[Row]:
    """One run after another, each killed and resumed until it is done."""
    moments = [
        Kill('at a random time', at_any_time),
        Kill('when the file of a checkpoint appears', in_the_writing),
        Kill('when that file has got its name', after_the_writing),
    ]
    done = chains = killed_at = missed = 0
    last = None
    bench.clear()
    while done < bench.kills or last is not None:
        # The harder case: there is no older checkpoint to fall back upon.
        keep = 3 if chains % 2 else 1
        run = bench.start(*RESUMED, options=(f'default_hooks.checkpoint.max_keep_ckpts={keep}',))
        moment = moments[done % len(moments)]
        struck = done < bench.kills and moment.strike(bench, run)
        if not struck:
            require(run.end() == 0, f'a resumed run failed: {run.output[-600:]}')
        if last is not None:
            repeated = killed_at - run.resumed_at
            require(repeated <= STEPS, f'{repeated} iterations were lost ({last.made})')
            last.repeated = max(last.repeated, repeated)
        if struck:
            require_named_is_complete(bench.work)
            done, killed_at, missed, last = done + 1, run.iterations, 0, moment
        else:
            bench.require_reference(EPOCHS)
            require_same_best(bench)
            bench.clear()
            chains, missed, last = chains + 1, missed + 1, None
            require(missed < 4, f'no run comes to the moment ({moment.made})')
    yield from (moment.row() for moment in moments if moment.times)


def require_same_best(bench: Bench) -> None:
    folders = (bench.work, bench.reference)
    ours, theirs = (sorted(file.name for file in folder.glob('best_*')) for folder in folders)
    require(ours == theirs, f'the best checkpoint is {ours} in place of {theirs}')


def require_named_is_complete(work: Path) -> None:
    pointer = work / 'last_checkpoint'
    named = pointer.read_text() if pointer.exists() else ''
    if named and Path(named).exists():
        try:
            load_from_local(named)
        except CheckpointError as error:
            raise NotSurvivedError(f'last_checkpoint names a corrupted file: {error}') from error


def killed_worker(bench: Bench) -> Iterator[Row]:
    workers = ('train_dataloader.num_workers=1', 'val_dataloader.num_workers=1')
    for _ in range(bench.tries):
        bench.clear()
        run = bench.start('--work-dir', 'work', options=workers)
        # Of the second to the fourth epoch, by the run's own pace: a busy machine's seconds say little.
        moment = bench.random.randint(STEPS + 1, 4 * STEPS)
        require(
            run.wait_for(lambda run=run, moment=moment: run.iterations >= moment),
            'the run ended before its worker',
        )
        children = Path(f'/proc/{run.process.pid}/task/{run.process.pid}/children').read_text().split()
        os.kill(int(bench.random.choice(children)), 9)
        require(run.end() == 1, 'the run did not end by its worker')
        error = re.search(r'RuntimeError: (DataLoader worker.*?)\.', run.output)
        require(error, f'the worker is not named: {run.output[-600:]}')
        bench.go_on(EPOCHS)
    said = re.sub(r'\d+', 'N', error.group(1))
    yield Row(
        'a worker of the data loader dies',
        '`kill -9` of a random one at a random time',
        bench.tries,
        f'the run ends: "{said}"; `--resume` goes on',
        'less than an epoch, done again',
    )
