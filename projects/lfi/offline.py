"""A block in which this thread asks no network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_ASKS = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostby', 'socket.send')
"""How the names of Python's audit events begin."""


class OfflineError(ConnectionError):
    """What is done wants the network."""


class _Thread(threading.local):
    offline = False


_thread = _Thread()


@contextmanager
def offline() -> Iterator[None]:
    """Ask no network in this thread; what libraries have fetched before, they find.

    Raises:
        OfflineError: inside the block, at a connection; libraries make errors of their own of it.
    """
    _install_hook()
    before, _thread.offline = _thread.offline, True
    try:
        with _hub_offline():
            yield
    finally:
        _thread.offline = before


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Let `huggingface_hub` look into its cache at once: it would try a connection again for half a minute.

    It knows one setting for all threads.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    # Sessions of its versions before 1.0 keep the setting.
    forget = getattr(_http, 'reset_sessions', _nothing)
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    forget()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        forget()


def _nothing() -> None:
    pass


@cache
def _install_hook() -> None:
    # Of other libraries none asks the same setting.
    sys.addaudithook(_refuse)


def _refuse(event: str, args: tuple) -> None:
    if _thread.offline and event.startswith(_ASKS):
        raise OfflineError('no network is asked here')
