"""Attributes of the process that a block overrides, and blocks without network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lfi.utils.audit import guarded

_lock = threading.Lock()
# By owner and name: the original value, and the number of open blocks.
_overrides: dict[tuple[int, str], list[Any]] = {}


@contextmanager
def override(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Override an attribute in a block, and restore it after the last of overlapping blocks.

    Blocks of several threads may overlap. If each block restored the value at its start, the last one could
    leave the override in place.

    Args:
        owner: object with the attribute.
        name: name of the attribute.
        value: value in the block; overlapping blocks must give the same value.
    """
    key = id(owner), name
    with _lock:
        if key not in _overrides:
            _overrides[key] = [getattr(owner, name), 0]
            setattr(owner, name, value)
        _overrides[key][1] += 1
    try:
        yield
    finally:
        with _lock:
            _overrides[key][1] -= 1
            if not _overrides[key][1]:
                setattr(owner, name, _overrides.pop(key)[0])


_NETWORK_EVENTS = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostby', 'socket.send')
"""Prefixes of Python's audit events."""


class OfflineError(ConnectionError):
    """An attempt to use the network in a block of `offline`."""


@contextmanager
def offline() -> Iterator[None]:
    """Context without network for this thread; libraries still read their caches.

    Raises:
        OfflineError: inside the block, at a connection. Libraries may turn it into their own errors.
    """
    with guarded(_refuse), _hub_offline():
        yield


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Set `huggingface_hub` offline, for all threads: it would retry a connection for half a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    # Sessions of versions before 1.0 keep the setting.
    reset_sessions = getattr(_http, 'reset_sessions', _do_nothing)
    try:
        with override(constants, 'HF_HUB_OFFLINE', True):
            reset_sessions()
            yield
    finally:
        reset_sessions()


def _do_nothing() -> None:
    pass


def _refuse(event: str, args: tuple) -> None:
    if event.startswith(_NETWORK_EVENTS):
        raise OfflineError('the network is not allowed here')
