"""What was raised in a loader's worker, from the text in which torch hands it on."""

from __future__ import annotations

import re
from typing import NamedTuple

# torch raises the same class anew, or a RuntimeError, and its message is the whole traceback.
CAUGHT = re.compile(r'^Caught \w+ in .+\.\nOriginal Traceback ')
HEADER = 'Traceback (most recent call last):\n'
FRAME = re.compile(r'^  File "(?P<file>.+)", line \d+, in .+\n(?:    (?P<line>.+)\n)?', re.MULTILINE)


class WorkerError(NamedTuple):
    """An error of a loader's worker.

    Args:
        message: its words.
        file: in which it was raised.
        line: that raised it; '' where Python does not know.
    """

    message: str
    file: str
    line: str


def worker_error(error: BaseException) -> WorkerError | None:
    """What a worker raised, if an error was handed on from one; None if it was not.

    Args:
        error: as torch raises it in the process of the loader.
    """
    text = str(error)
    if not CAUGHT.match(text):
        return None
    # The last traceback is of what reached the loader; those of its causes stand before.
    trace = text.rpartition(HEADER)[2]
    frames = list(FRAME.finditer(trace))
    said = re.search(r'^\S.*', trace, re.MULTILINE | re.DOTALL)
    if not frames or said is None:
        return None
    # The name of its class stands before them.
    message = said[0].rstrip('\n').partition(': ')[2]
    return WorkerError(message, frames[-1]['file'], frames[-1]['line'] or '')


def words_of(error: BaseException) -> str:
    """The words of an error, wherever it was raised."""
    worker = worker_error(error)
    return str(error) if worker is None else worker.message
