"""The scalars that a run has logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path


def read_scalars(work_dir: str | Path) -> Iterator[dict]:
    """The rows of a run's `*/vis_data/scalars.json`, oldest first; a resumed run has several such files.

    Of runs in the same folder the last one counts, with what it was resumed from: a run that began anew takes
    the place of those before. What is no row is skipped: a kill leaves truncated ones.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    begun = max((i for i, file in enumerate(files) if _begins_anew(file.with_name('config.py'))), default=0)
    for file in files[begun:]:
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


def _begins_anew(config: Path) -> bool:
    """Whether a run that kept this config did not go on with another."""
    return config.is_file() and bool(re.search(r'^resume = False$', config.read_text(), re.MULTILINE))
