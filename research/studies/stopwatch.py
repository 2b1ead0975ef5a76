"""Stopwatch for interruptible work."""

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
    """Add the seconds of the block to those in a file, until a block ends without an error.

    Later blocks, such as a check of the finished work, do not count.

    Args:
        file: JSON file, written atomically while the block runs.
        interval: seconds between two writes, the most that is lost if the process is killed. Defaults to 5.
    """
    previous = json.loads(file.read_text()) if file.exists() else dict(seconds=0.0, whole=False)
    if previous['whole']:
        yield
        return
    start, ended = time.perf_counter(), Event()

    def write(whole: bool) -> None:
        seconds = previous['seconds'] + time.perf_counter() - start
        AtomicLocalBackend().put_text(json.dumps(dict(seconds=seconds, whole=whole)), file)

    def write_periodically() -> None:
        while not ended.wait(interval):
            # A full disk may have space later.
            with suppress(OSError):
                write(whole=False)

    thread, whole = Thread(target=write_periodically, daemon=True), False
    thread.start()
    try:
        yield
        whole = True
    finally:
        ended.set()
        thread.join()
        write(whole)


def read_seconds(file: Path) -> float | None:
    """Read the seconds of a file of `stopwatch`; None if there is no file."""
    return json.loads(file.read_text())['seconds'] if file.exists() else None
