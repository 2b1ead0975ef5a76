"""CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from lfi.utils.fileio import AtomicLocalBackend


def write_csv(rows: Iterable[Sequence[object]], path: str | Path) -> None:
    """Write rows, the titles first, to a CSV file atomically.

    Raises:
        CheckpointWriteError: if the file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    AtomicLocalBackend().put_text(text.getvalue(), path)
