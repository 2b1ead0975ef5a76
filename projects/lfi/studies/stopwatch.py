"""How long a work took that may be cut off and go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stopwatch(file: Path) -> Iterator[None]:
    """Add the seconds of the block to those in the file, until it ends without an error for the first time.

    What comes later, such as looking through what is there already, does not count.
    """
    kept = json.loads(file.read_text()) if file.exists() else dict(seconds=0.0, whole=False)
    start, whole = time.perf_counter(), False
    try:
        yield
        whole = True
    finally:
        # Files of older versions say nothing of it, and were written at the end.
        if not kept.get('whole', True):
            file.parent.mkdir(parents=True, exist_ok=True)
            seconds = kept['seconds'] + time.perf_counter() - start
            file.write_text(json.dumps(dict(seconds=seconds, whole=whole)))


def seconds_of(file: Path) -> float | None:
    """What `stopwatch` has counted into the file; None where there is none."""
    return json.loads(file.read_text())['seconds'] if file.exists() else None
