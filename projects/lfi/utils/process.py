"""Settings of the process that a block changes, and a block without the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lfi.utils.audit import guarded

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


_ASKS = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostby', 'socket.send')
"""How the names of Python's audit events begin."""


class OfflineError(ConnectionError):
    """What is done wants the network."""


@contextmanager
def offline() -> Iterator[None]:
    """Ask no network in this thread; what libraries have fetched before, they find.

    Raises:
        OfflineError: inside the block, at a connection; libraries make errors of their own of it.
    """
    with guarded(_refuse), _hub_offline():
        yield


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Let `huggingface_hub` look into its cache at once: it would try a connection again for half a minute.

    It knows one setting for all threads.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    # Sessions of its versions before 1.0 keep the setting.
    forget = getattr(_http, 'reset_sessions', _nothing)
    try:
        with changed(constants, 'HF_HUB_OFFLINE', True):
            forget()
            yield
    finally:
        forget()


def _nothing() -> None:
    pass


def _refuse(event: str, args: tuple) -> None:
    if event.startswith(_ASKS):
        raise OfflineError('no network is asked here')
