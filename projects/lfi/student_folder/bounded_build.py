"""A block that builds what someone else's config names: it opens no file, and stays in bounds of memory.

Files are refused by a guard of Python's audit events, which sees them however they are opened. The working
directory stays as it is: it belongs to all threads, and this block to its own. Python may read what is
installed, to import a module that a type asks for late. Memory is counted before torch takes it: each
operation that makes a tensor tells its shape on the meta device first. Loops of Python, which some types need
for each place of an image, are ended from another thread, where they take too much time, or the process too
much memory.
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
"""How the names of events begin beside those of files."""
LATE = 2**28
"""Bytes by which a process may grow beside what is built: modules that are imported late."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


class ForbiddenActionError(PermissionError):
    """What is built wants to open a file, to start a program, or to unpickle."""


class OutOfBoundsError(MemoryError):
    """What is built is larger than its weights allow."""


class EndlessWorkError(OutOfBoundsError):
    """What is built takes more time, or the process more memory, than its weights allow."""

    def __init__(self) -> None:
        super().__init__('it takes more time or memory than its few weights should')


@dataclass(frozen=True)
class Bounds:
    """How large a model may become while it is built.

    Args:
        size: in bytes, of all tensors that are made.
        parts: modules and parameters.
        seconds: of the CPU, in the thread that builds. Defaults to 30.
    """

    size: int
    parts: int
    seconds: float = 30.0

    @classmethod
    def of_weights(cls, tensors: int, elements: int) -> Bounds:
        """For a model of so many tensors with so many elements in all.

        What layers compute while they are made is several times as much, and an adapter tries its backbone
        on an image.
        """
        return cls(size=2**29 + 64 * elements, parts=2000 + 40 * tensors, seconds=30 + elements / 5_000_000)


@contextmanager
def bounded_build(bounds: Bounds) -> Iterator[None]:
    """Build within bounds, without files; so no checkpoint is read either.

    Raises:
        ForbiddenActionError: inside the block, where it opens a file, starts a program, or unpickles.
        OutOfBoundsError: inside the block, where it becomes too large.
    """
    # Torch imports it at the first tensor in such a block, and it makes a folder for what it compiles.
    importlib.import_module('torch._dynamo')
    with ExitStack() as stack:
        stack.enter_context(_watched(bounds))
        stack.enter_context(_few_parts(bounds.parts))
        stack.enter_context(_LittleMemory(bounds.size))
        stack.enter_context(_no_files())
        yield


@contextmanager
def _watched(bounds: Bounds) -> Iterator[None]:
    """Raise an EndlessWorkError in this thread once it has taken too much time, or the process memory.

    Beside its tensors a process may grow as much again.
    """
    thread, over, turn = threading.get_ident(), threading.Event(), threading.Lock()
    worked = _clock_of(thread)
    end, largest = worked() + bounds.seconds, _resident() + 2 * bounds.size + LATE

    def watch() -> None:
        while not over.wait(0.1):
            with turn:
                if not over.is_set() and (worked() > end or _resident() > largest):
                    _raise_in(thread, ctypes.py_object(EndlessWorkError))
                    return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with turn:
            over.set()
            # What came too late is taken back.
            _raise_in(thread, None)


def _clock_of(thread: int) -> Callable[[], float]:
    """The seconds that a thread has worked; where the system does not say, those that have passed."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(thread))


def _resident() -> int:
    """The memory of this process in bytes; 0 where the system does not say."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf('SC_PAGE_SIZE')


def _raise_in(thread: int, error: Any) -> None:
    """Let a thread raise an error at its next step of Python; None takes an error back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


@contextmanager
def _no_files() -> Iterator[None]:
    folders = installed_folders()

    def refuse(event: str, args: tuple) -> None:
        if event == 'open':
            path, _, flags = args
            refused = bool((flags or 0) & _WRITES) or not is_below(path, folders)
        elif event == 'import':
            # Of an extension alone a file is named.
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
def _few_parts(most: int) -> Iterator[None]:
    """Raise an OutOfBoundsError at the module or parameter after the most that may be registered."""
    thread, found = threading.get_ident(), 0

    def count(*_: object) -> None:
        nonlocal found
        found += threading.get_ident() == thread
        if found > most:
            raise OutOfBoundsError(f'it has more than {most:,} modules and parameters, and its weights few')

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


class _LittleMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that are made, each before it is."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most, self._made = most, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, if what it makes is within the bounds."""
        kwargs = kwargs or {}
        if _makes_tensors(func):
            self._made += _size(func, args, kwargs)
            if self._made > self._most:
                raise OutOfBoundsError(
                    f'it makes tensors of more than {self._most:,} bytes, and its weights have few'
                )
        return func(*args, **kwargs)


@cache
def _makes_tensors(func: Any) -> bool:
    """Whether an operation returns tensors with memory of their own."""
    schema = func._schema
    return not schema.is_mutable and any(
        isinstance(value.type, torch.TensorType) and value.alias_info is None for value in schema.returns
    )


@cache
def _takes_device(func: Any) -> bool:
    return any(argument.name == 'device' for argument in func._schema.arguments)


def _size(func: Any, args: Any, kwargs: Any) -> int:
    """How many bytes an operation makes; 0 where that depends on values, and so on what is there."""
    args, kwargs = tree_map_only(Tensor, _without_memory, (args, kwargs))
    if _takes_device(func):
        kwargs = {**kwargs, 'device': 'meta'}
    try:
        made = func(*args, **kwargs)
    except (NotImplementedError, RuntimeError):
        return 0
    made = made if isinstance(made, tuple | list) else [made]
    return sum(value.nbytes for value in made if isinstance(value, Tensor))


def _without_memory(value: Tensor) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device='meta')
