"""Several jobs at a time, with a view of how far they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def run_jobs(jobs: Sequence[Callable[[Progress], str]], workers: int) -> None:
    """Run jobs in threads; each starts programs, and may add a line of its own to the progress view.

    Args:
        jobs: what is called, with the progress view; it returns what to print of its result.
        workers: jobs at a time.

    Raises:
        Exception: of the first job that fails; the others that run are finished, and no more are begun.
    """
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A pipe has no width, and must not cut lines.
    console = Console(width=None if sys.stdout.isatty() else 200)
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        whole = progress.add_task('cells', total=len(jobs))
        try:
            for future in as_completed([pool.submit(job, progress) for job in jobs]):
                progress.console.print(future.result())
                progress.advance(whole)
        except BaseException:
            # After Ctrl-C too, what waits is not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def threads_for(workers: int) -> str:
    """`OMP_NUM_THREADS` of each of so many jobs that share the machine's cores."""
    return str(max(1, (os.cpu_count() or 1) // workers))
