"""Logged scalars of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

NOT_METRICS = ('step', 'epoch', 'iter', 'time', 'data_time', 'memory', 'lr')
"""Keys of a row of a validation that are no metrics."""


def read_scalars(work_dir: str | Path, resumed_at: int | None = None) -> Iterator[dict]:
    """Yield the rows of a run's `*/vis_data/scalars.json`, oldest first. A resumed run has several files.

    The rows come from the last run in the folder and from the runs that it resumed. A run that began anew
    replaces all runs before it. A run that ended before its first checkpoint is left out. Lines that a kill
    has truncated are skipped.

    Args:
        work_dir: folder of the run.
        resumed_at: first iteration of a resumed run without logs. Defaults to None: no such run.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    runs: list[list[dict]] = []
    next_start = resumed_at
    for file in reversed(files):
        rows = list(_rows(file))
        steps = [row['step'] for row in rows if 'loss' in row]
        begins_anew = _begins_anew(file)
        if begins_anew and next_start is not None and not _reaches(steps, next_start):
            continue
        runs.insert(0, rows)
        if begins_anew:
            break
        next_start = min(steps, default=next_start)
    for rows in runs:
        yield from rows


def _rows(file: Path) -> Iterator[dict]:
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            yield row


def _begins_anew(file: Path) -> bool:
    """Whether the run of a file started anew, according to the config beside the file."""
    config = file.with_name('config.py')
    return config.is_file() and bool(re.search(r'^resume = False$', config.read_text(), re.MULTILINE))


def _reaches(steps: list[int], first: int) -> bool:
    """Whether a run may have written the checkpoint that a later run resumed.

    Args:
        steps: logged iterations of the run, ascending.
        first: first logged iteration of the later run.
    """
    # Runs log in intervals, so the last interval of this run and the first of the later one may be missing.
    interval = max((after - before for before, after in pairwise(steps)), default=max(steps, default=0))
    return max(steps, default=0) + 2 * interval >= first
