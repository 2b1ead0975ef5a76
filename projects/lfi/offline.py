"""A block in which this thread may not use the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lfi.audit import guarded
from lfi.process_settings import changed

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
