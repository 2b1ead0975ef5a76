"""How long a work took that may be cut off and go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from lfi.utils.fileio import AtomicLocalBackend


@contextmanager
def stopwatch(file: Path, interval: float = 5.0) -> Iterator[None]:
    """Add the seconds of the block to those in the file, until it ends without an error for the first time.

    What comes later, such as looking through what is there already, does not count.

    Args:
        file: JSON, written while the block runs, each time completely or not at all.
        interval: Seconds between two writes: as many are lost at most when the process is killed.
    """
    kept = json.loads(file.read_text()) if file.exists() else dict(seconds=0.0, whole=False)
    if kept['whole']:
        yield
        return
    start, ended = time.perf_counter(), Event()

    def write(whole: bool) -> None:
        seconds = kept['seconds'] + time.perf_counter() - start
        AtomicLocalBackend().put_text(json.dumps(dict(seconds=seconds, whole=whole)), file)

    def write_now_and_then() -> None:
        while not ended.wait(interval):
            # A disk that is full now may have room later.
            with suppress(OSError):
                write(whole=False)

    thread, whole = Thread(target=write_now_and_then, daemon=True), False
    thread.start()
    try:
        yield
        whole = True
    finally:
        ended.set()
        thread.join()
        write(whole)


def seconds_of(file: Path) -> float | None:
    """What `stopwatch` has counted into the file; None where there is none."""
    return json.loads(file.read_text())['seconds'] if file.exists() else None
