"""Jobs that run in parallel, with a progress view."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .tool_output import stop_tools


def run_jobs(jobs: Sequence[Callable[[Progress], str]], workers: int) -> None:
    """Run jobs in threads.

    Ctrl-C and SIGTERM also stop the programs that the jobs run by `tool_output`.

    Args:
        jobs: functions of the progress view, to which they may add a task; each returns a line to print.
        workers: number of jobs at a time.

    Raises:
        Exception: error of the first job that fails, after the jobs that run already. No further job starts.
    """
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A pipe has no width, and lines must not be cut.
    console = Console(width=None if sys.stdout.isatty() else 200)
    with (
        _exit_by_sigterm(),
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        total = progress.add_task('cells', total=len(jobs))
        futures = [pool.submit(job, progress) for job in jobs]
        try:
            for future in as_completed(futures):
                progress.console.print(future.result())
                progress.advance(total)
        except BaseException as error:
            # Cancel the jobs that wait, after Ctrl-C as well.
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                # Repeat: a job that waited for a lock may start a program after the first call.
                while not all(future.done() for future in futures):
                    stop_tools()
                    time.sleep(0.1)
            raise


@contextmanager
def _exit_by_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, as Ctrl-C raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def threads_for(workers: int) -> str:
    """Return `OMP_NUM_THREADS` for each of `workers` jobs that share the cores of the machine."""
    return str(max(1, (os.cpu_count() or 1) // workers))
