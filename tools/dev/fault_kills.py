"""Faults of killed runs and killed data workers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_bench import (
    EPOCHS,
    RESUME_ARGUMENTS,
    STEPS,
    Bench,
    NotSurvivedError,
    Run,
    modification_times,
    partial_files,
    require,
)
from fault_row import Row
from lfi.engine import CheckpointError
from lfi.engine.checkpoints.reading import load_from_local


class Kill:
    """`kill -9` at one kind of moment.

    Args:
        moment: text about the moment.
        wait: function that waits for the moment, and returns False if the run ends first.
    """

    def __init__(self, moment: str, wait: Callable[[Bench, Run], bool]) -> None:
        self.moment, self._wait = moment, wait
        self.count = self.truncated = self.repeated = 0

    def strike(self, bench: Bench, run: Run) -> bool:
        """Kill a run at the moment; return False if it ends first."""
        if not run.wait_for(lambda: run.iterations):
            return False
        before = partial_files(bench)
        if not self._wait(bench, run):
            return False
        run.kill()
        if run.process.exitcode == 0:
            return False
        self.count += 1
        self.truncated += not partial_files(bench).items() <= before.items()
        return True

    def row(self) -> Row:
        return Row(
            '`kill -9`',
            self.moment,
            self.count,
            f'`--resume` continues; {self.truncated} files were being written; `last_checkpoint` named none '
            'of them',
            f'at most {self.repeated} iterations, repeated ({STEPS} per epoch)',
        )


def at_any_time(bench: Bench, run: Run) -> bool:
    return run.sleep(bench.random.uniform(0, 3) * bench.epoch_seconds)


def while_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and wait_for_change(bench, run, '.*.partial')


def after_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and wait_for_change(bench, run, '*.pth')


def wait_for_change(bench: Bench, run: Run, pattern: str) -> bool:
    before = modification_times(bench, pattern)
    return run.wait_for(lambda: modification_times(bench, pattern) != before)


def kills(bench: Bench) -> Iterator[Row]:
    """Kill and resume each of several runs until it is done."""
    kinds = [
        Kill('at a random time', at_any_time),
        Kill('when the file of a checkpoint appears', while_writing),
        Kill('when this file has its final name', after_writing),
    ]
    done = finished_runs = killed_at = missed = 0
    last = None
    bench.clear()
    while done < bench.kills or last is not None:
        # With max_keep_ckpts=1, the harder case, there is no older checkpoint to fall back on.
        keep = 3 if finished_runs % 2 else 1
        run = bench.start(*RESUME_ARGUMENTS, options=(f'default_hooks.checkpoint.max_keep_ckpts={keep}',))
        kill = kinds[done % len(kinds)]
        killed = done < bench.kills and kill.strike(bench, run)
        if not killed:
            require(run.end() == 0, f'a resumed run failed: {run.output[-600:]}')
        if last is not None:
            repeated = killed_at - run.resumed_at
            require(repeated <= STEPS, f'{repeated} iterations were lost ({last.moment})')
            last.repeated = max(last.repeated, repeated)
        if killed:
            require_complete_pointer(bench.work)
            done, killed_at, missed, last = done + 1, run.iterations, 0, kill
        else:
            bench.require_reference(EPOCHS)
            require_same_best(bench)
            bench.clear()
            finished_runs, missed, last = finished_runs + 1, missed + 1, None
            require(missed < 4, f'no run reaches the moment ({kill.moment})')
    yield from (kill.row() for kill in kinds if kill.count)


def require_same_best(bench: Bench) -> None:
    folders = (bench.work, bench.reference)
    actual, expected = (sorted(file.name for file in folder.glob('best_*')) for folder in folders)
    require(actual == expected, f'the best checkpoint is {actual} instead of {expected}')


def require_complete_pointer(work: Path) -> None:
    pointer = work / 'last_checkpoint'
    named = pointer.read_text() if pointer.exists() else ''
    if named and Path(named).exists():
        try:
            load_from_local(named)
        except CheckpointError as error:
            raise NotSurvivedError(f'last_checkpoint names a corrupted file: {error}') from error


def killed_worker(bench: Bench) -> Iterator[Row]:
    workers = ('train_dataloader.num_workers=1', 'val_dataloader.num_workers=1')
    messages = set[str]()
    for _ in range(bench.tries):
        bench.clear()
        run = bench.start('--work-dir', 'work', options=workers)
        # In the second to fourth epoch. Iterations suit a busy machine better than seconds.
        iteration = bench.random.randint(STEPS + 1, 4 * STEPS)
        require(
            run.wait_for(lambda run=run, iteration=iteration: run.iterations >= iteration),
            'the run ended before its worker',
        )
        children = Path(f'/proc/{run.process.pid}/task/{run.process.pid}/children').read_text().split()
        os.kill(int(bench.random.choice(children)), 9)
        require(run.end() == 1, 'the run did not end with its worker')
        # A worker that dies while it hands over a batch resets its connection first.
        error = re.search(r'Error: (DataLoader worker.*?\.|.*Connection reset by peer)', run.output)
        require(error, f'the worker is not named: {run.output[-600:]}')
        messages.add(re.sub(r'\d+', 'N', error[1].removesuffix('.')))
        bench.resume(EPOCHS)
    ends = ' or '.join(f'"{message}"' for message in sorted(messages))
    yield Row(
        'a worker of the data loader dies',
        '`kill -9` of a random worker at a random time',
        bench.tries,
        f'the run ends: {ends}; `--resume` continues',
        'less than an epoch, repeated',
    )
