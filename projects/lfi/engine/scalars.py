"""The scalars that a run has logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def read_scalars(work_dir: str | Path) -> Iterator[dict]:
    """The rows of a run's `*/vis_data/scalars.json`, oldest first; a resumed run has several such files.

    What is no row is skipped: a kill leaves truncated ones.
    """
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row
