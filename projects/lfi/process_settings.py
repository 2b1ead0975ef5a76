"""Settings of the process that a block changes, whatever other threads do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
# By owner and name: the value before, and how many blocks need the other one.
_changed: dict[tuple[int, str], list[Any]] = {}


@contextmanager
def changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value in a block, and its own again after the last block that needs it.

    Blocks of several threads may overlap: were each to restore what it found, the last could leave the other
    value for good.

    Args:
        owner: whose attribute it is.
        name: of the attribute.
        value: in the block; blocks that overlap must give the same one.
    """
    key = id(owner), name
    with _lock:
        if key not in _changed:
            _changed[key] = [getattr(owner, name), 0]
            setattr(owner, name, value)
        _changed[key][1] += 1
    try:
        yield
    finally:
        with _lock:
            _changed[key][1] -= 1
            if not _changed[key][1]:
                setattr(owner, name, _changed.pop(key)[0])
