"""Build of an untrusted config without access to files, within limits on memory and time.

- Files: a guard of Python's audit events refuses to open files, except installed ones, for late imports. The
  working directory is not changed, since all threads share it.
- Memory: each operation that makes a tensor first runs on the meta device, and the bytes are counted.
- Time: another thread interrupts the build if it takes too much time, or the process too much memory.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from lfi.utils.audit import guarded, installed_folders, is_below

_REFUSED = (
    'ctypes.dlopen',
    'ftplib.connect',
    'http.client.connect',
    'mmap.__new__',
    'os.chmod',
    'os.exec',
    'os.fork',
    'os.link',
    'os.mkdir',
    'os.posix_spawn',
    'os.remove',
    'os.rename',
    'os.rmdir',
    'os.spawn',
    'os.startfile',
    'os.symlink',
    'os.system',
    'os.truncate',
    'pickle.find_class',
    'pty.spawn',
    'shutil.',
    'socket.',
    'sqlite3.connect',
    'subprocess.',
    'urllib.',
)
"""Prefixes of refused audit events, besides the opening of files and imports."""
IMPORT_BYTES = 2**28
"""Growth of the process in bytes that is allowed for late imports."""
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


class ForbiddenActionError(PermissionError):
    """An attempt of a build to open a file, to start a program, or to unpickle."""


class OutOfBoundsError(MemoryError):
    """A model that is larger than its weights allow."""


class EndlessWorkError(OutOfBoundsError):
    """A build that takes more time or memory than the model's weights allow."""

    def __init__(self) -> None:
        super().__init__('the build takes more time or memory than the weights of the model allow')


@dataclass(frozen=True)
class Bounds:
    """Limits on the build of a model.

    Args:
        size: total size in bytes of all tensors that the build makes.
        parts: number of modules and parameters.
        seconds: CPU time in seconds of the thread that builds. Defaults to 30.
    """

    size: int
    parts: int
    seconds: float = 30.0

    @classmethod
    def of_weights(cls, tensors: int, elements: int) -> Bounds:
        """Return the bounds for a model with a number of tensors and of elements in total.

        The bounds are several times the weights: layers compute while they are built, and an adapter runs its
        backbone on an image.
        """
        return cls(size=2**29 + 64 * elements, parts=2000 + 40 * tensors, seconds=30 + elements / 5_000_000)


@contextmanager
def bounded_build(bounds: Bounds) -> Iterator[None]:
    """Limit a block that builds a model: keep it within bounds, and let it open no files or checkpoints.

    Raises:
        ForbiddenActionError: inside the block, if the block opens a file, starts a program, or unpickles.
        OutOfBoundsError: inside the block, if the block exceeds a bound.
    """
    # Import this module here: torch imports it at the first tensor, and the import makes a folder.
    importlib.import_module('torch._dynamo')
    with ExitStack() as stack:
        stack.enter_context(_limit_time(bounds))
        stack.enter_context(_limit_parts(bounds.parts))
        stack.enter_context(_MemoryLimit(bounds.size))
        stack.enter_context(_forbid_files())
        yield


@contextmanager
def _limit_time(bounds: Bounds) -> Iterator[None]:
    """Raise an EndlessWorkError in this thread if it takes too much time, or the process too much memory.

    The process may grow by twice the size of the tensors, and by late imports.
    """
    thread, done, lock = threading.get_ident(), threading.Event(), threading.Lock()
    clock = _thread_clock(thread)
    end, max_bytes = clock() + bounds.seconds, _resident_bytes() + 2 * bounds.size + IMPORT_BYTES

    def watch() -> None:
        while not done.wait(0.1):
            with lock:
                if not done.is_set() and (clock() > end or _resident_bytes() > max_bytes):
                    _raise_in(thread, ctypes.py_object(EndlessWorkError))
                    return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            done.set()
            # Cancel an error that was set but not raised yet.
            _raise_in(thread, None)


def _thread_clock(thread: int) -> Callable[[], float]:
    """Return a clock of a thread's CPU time in seconds, or of wall time where the system has none."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(thread))


def _resident_bytes() -> int:
    """Return the memory of this process in bytes; 0 if the system does not report it."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf('SC_PAGE_SIZE')


def _raise_in(thread: int, error: Any) -> None:
    """Raise an error in a thread at its next Python instruction; None cancels a pending error."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


@contextmanager
def _forbid_files() -> Iterator[None]:
    """Raise a ForbiddenActionError at forbidden audit events in a block."""
    folders = installed_folders()

    def refuse(event: str, args: tuple) -> None:
        if event == 'open':
            path, _, flags = args
            refused = bool((flags or 0) & _WRITE_FLAGS) or not is_below(path, folders)
        elif event == 'import':
            # Only the import of an extension module has a path.
            path = args[1]
            refused = path is not None and not is_below(path, folders)
        else:
            path = args[0] if args else ''
            refused = event.startswith(_REFUSED)
        if refused:
            raise ForbiddenActionError(
                f'{event} of {str(path)[:200]!r} is not allowed while a student is built'
            )

    with guarded(refuse):
        yield


@contextmanager
def _limit_parts(max_parts: int) -> Iterator[None]:
    """Raise an OutOfBoundsError if more than `max_parts` modules and parameters are registered."""
    thread, num_parts = threading.get_ident(), 0

    def count(*_: object) -> None:
        nonlocal num_parts
        num_parts += threading.get_ident() == thread
        if num_parts > max_parts:
            raise OutOfBoundsError(
                f'it has more than {max_parts:,} modules and parameters, which its weights do not account for'
            )

    hooks: list[Callable] = [
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    ]
    handles = [register(count) for register in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _MemoryLimit(TorchDispatchMode):
    """Dispatch mode that counts the bytes of all new tensors, before they are allocated."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes, self._num_bytes = max_bytes, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation if its tensors are within the limit."""
        kwargs = kwargs or {}
        if _makes_tensors(func):
            self._num_bytes += _output_bytes(func, args, kwargs)
            if self._num_bytes > self._max_bytes:
                raise OutOfBoundsError(
                    f'it makes tensors of more than {self._max_bytes:,} bytes, which its weights do not '
                    'account for'
                )
        return func(*args, **kwargs)


@cache
def _makes_tensors(func: Any) -> bool:
    """Whether an operation returns tensors with new memory."""
    schema = func._schema
    return not schema.is_mutable and any(
        isinstance(value.type, torch.TensorType) and value.alias_info is None for value in schema.returns
    )


@cache
def _takes_device(func: Any) -> bool:
    return any(argument.name == 'device' for argument in func._schema.arguments)


def _output_bytes(func: Any, args: Any, kwargs: Any) -> int:
    """Return the size in bytes of an operation's outputs; 0 if it depends on the values of its inputs."""
    args, kwargs = tree_map_only(Tensor, _to_meta, (args, kwargs))
    if _takes_device(func):
        kwargs = {**kwargs, 'device': 'meta'}
    try:
        outputs = func(*args, **kwargs)
    except (NotImplementedError, RuntimeError):
        return 0
    outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
    return sum(value.nbytes for value in outputs if isinstance(value, Tensor))


def _to_meta(value: Tensor) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device='meta')
