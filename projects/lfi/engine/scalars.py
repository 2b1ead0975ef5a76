"""The scalars that a run has logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path


def read_scalars(work_dir: str | Path, resumed_at: int | None = None) -> Iterator[dict]:
    """The rows of a run's `*/vis_data/scalars.json`, oldest first; a resumed run has several such files.

    Of runs in the same folder the last one counts, with those that it went on from: a run that began anew
    takes the place of those before, and one that ended before it wrote a checkpoint is left out. What is no
    row is skipped: a kill leaves truncated ones.

    Args:
        work_dir: the folder.
        resumed_at: the iteration from which a run goes on that has logged nothing yet. Defaults to None:
            there is no such run.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    kept: list[list[dict]] = []
    first = resumed_at
    for file in reversed(files):
        rows = list(_rows(file))
        steps = [row['step'] for row in rows if 'loss' in row]
        begins_anew = _begins_anew(file)
        if begins_anew and first is not None and not _reaches(steps, first):
            continue
        kept.insert(0, rows)
        if begins_anew:
            break
        first = min(steps, default=first)
    for rows in kept:
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
    """Whether the run of a file did not go on with another, as its config beside it says."""
    config = file.with_name('config.py')
    return config.is_file() and bool(re.search(r'^resume = False$', config.read_text(), re.MULTILINE))


def _reaches(steps: list[int], first: int) -> bool:
    """Whether a run that logged at these iterations may have written what another went on from.

    Args:
        steps: in their order.
        first: the other's first iteration that was logged.
    """
    # Each logs in intervals, of which the last ones of this and the first ones of the other may be missing.
    interval = max((after - before for before, after in pairwise(steps)), default=max(steps, default=0))
    return max(steps, default=0) + 2 * interval >= first
