"""Several jobs at a time, with a view of how far they are."""

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
    """Run jobs in threads; each starts programs, and may add a line of its own to the progress view.

    Ctrl-C and SIGTERM stop what `tool_output` runs, too.

    Args:
        jobs: what is called, with the progress view; it returns what to print of its result.
        workers: jobs at a time.

    Raises:
        Exception: of the first job that fails; the others that run are finished, and no more are begun.
    """
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A pipe has no width, and must not cut lines.
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
            # After Ctrl-C too, what waits is not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                # Also those that a job starts which has waited for another one's.
                while not all(future.done() for future in futures):
                    stop_tools()
                    time.sleep(0.1)
            raise


@contextmanager
def _exit_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def threads_for(workers: int) -> str:
    """`OMP_NUM_THREADS` of each of so many jobs that share the machine's cores."""
    return str(max(1, (os.cpu_count() or 1) // workers))
