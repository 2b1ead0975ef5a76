"""A table of values as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from lfi.utils.fileio import AtomicLocalBackend


def write_csv(rows: Iterable[Sequence[object]], path: str | Path) -> None:
    """Write all rows, the titles first, or leave the file as it is.

    Raises:
        CheckpointWriteError: if it cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    AtomicLocalBackend().put_text(text.getvalue(), path)
