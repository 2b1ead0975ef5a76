"""Guards for the names that a checkpoint may use beyond tensors and plain data.

torch's restricted unpickler calls each allowed name with arguments from the file, and passes states from the
file to the result. numpy's classes are not safe against that: `ndarray((1,), 'O', raw)` reads raw bytes as
pointers. Each name therefore resolves to a guard that accepts only what a Runner writes.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from .content import exchange, reachable

# numpy's type codes of plain numbers, such as 'f8' and 'b1'.
_NUMBERS = frozenset(
    np.dtype(code).str[1:] for code in np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
)
# Largest number of dimensions of an array in numpy 2.
_MAX_DIMS = 64
# torch's allow-list is global, so one reader changes it at a time.
_LOCK = threading.RLock()


class ForbiddenStateError(Exception):
    """A file uses an allowed name with arguments or a state that no Runner writes."""


@contextmanager
def runner_state_allowed() -> Iterator[None]:
    """Context in which `torch.load(weights_only=True)` reads a Runner's state and numpy's numbers.

    Other names that the user has allowed stay allowed. torch's allow-list is restored afterwards.
    """
    guarded = [(value, name) for name, value in _GUARDED.items()]
    with _LOCK:
        allowed = torch.serialization.get_safe_globals()
        replaced = [item for item in allowed if _is_guarded(item)]
        _set_safe_globals([item for item in allowed if item not in replaced] + guarded)
        try:
            yield
        finally:
            allowed = torch.serialization.get_safe_globals()
            _set_safe_globals([item for item in allowed if item not in guarded] + replaced)


def replace_guards(content: Any) -> Any:
    """Replace the guards of numpy's arrays and dtypes by plain arrays and dtypes.

    Args:
        content: Result of `torch.load`. Its dicts, lists, sets and objects are changed in place.

    Returns:
        The content without guards.

    Raises:
        ForbiddenStateError: If a guard was never called, is a `HistoryBuffer` without a state, or is held by
            a slot or an extension object, where it cannot be replaced.
    """
    leaves = (_Array, _Dtype)
    guards = {id(guard): name for name, guard in _GUARDED.items()}
    objects = reachable(content, leaves)
    for value in objects:
        if id(value) in guards:
            raise ForbiddenStateError(f'{guards[id(value)]} is stored and not called')
        if isinstance(value, _HistoryBuffer):
            raise ForbiddenStateError('a HistoryBuffer has no state')
    plain = {id(value): value.plain() for value in objects if isinstance(value, leaves)}
    if not plain:
        return content
    content = exchange(content, objects, plain)
    for value in reachable(content, leaves):
        if not isinstance(value, leaves) and any(
            isinstance(part, leaves) for part in gc.get_referents(value)
        ):
            kind = f'{type(value).__module__}.{type(value).__qualname__}'
            raise ForbiddenStateError(f'`{kind}` holds an array or dtype of numpy in a slot or similar place')
    return content


class _Array(np.ndarray):
    """Guard of a numpy array, which a file fills with plain numbers once.

    A file can create it only by `_reconstruct`.
    """

    def __new__(cls, *args: object, **kwargs: object) -> _Array:
        raise ForbiddenStateError('numpy.ndarray is called')

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple(shape), _Dtype() as kind, int(fortran), bytes(raw)):
                pass
            case _:
                raise ForbiddenStateError('an array of numpy has another state than shape, dtype and bytes')
        if self.size:
            # Another object may refer to its memory, which numpy would free.
            raise ForbiddenStateError('an array of numpy is filled twice')
        if len(shape) > _MAX_DIMS or not all(type(side) is int and side >= 0 for side in shape):
            raise ForbiddenStateError(f'an array of numpy has the shape {str(shape)[:100]}')
        # numpy multiplies the sides of empty arrays, too, except those of 0.
        if prod(max(side, 1) for side in shape) * kind.plain().itemsize > sys.maxsize:
            raise ForbiddenStateError(f'an array of numpy has the shape {shape}, which no memory holds')
        kind.require(raw, prod(shape))
        # numpy 2.4 rejects the `np.bool` that its stubs require.
        state = (1, shape, kind.plain(), bool(fortran), raw)
        super().__setstate__(state)  # type: ignore[arg-type]

    def __reduce__(self) -> str | tuple:
        return self.plain().__reduce__()

    def plain(self) -> np.ndarray:
        return np.array(self, subok=False)


class _Dtype:
    """Guard of a numpy dtype of plain numbers, in either byte order."""

    __slots__ = ('_name', '_order')

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if type(name) is not str or name not in _NUMBERS:
            raise ForbiddenStateError('numpy.dtype is called for other values than plain numbers')
        self._name = name
        self._order: Literal['<', '>', '|', '='] = '='

    def __setstate__(self, state: object) -> None:
        # Version, byte order, subarray, names, fields, size, alignment and flags.
        match state:
            case (3, '<' | '>' | '|' | '=' as order, None, None, None, -1, -1, 0):
                self._order = order
            case _:
                raise ForbiddenStateError('a dtype of numpy has another state than a byte order')

    def require(self, raw: bytes, count: int) -> None:
        """Check that bytes hold `count` numbers.

        Raises:
            ForbiddenStateError: If they hold more or fewer, or truth values other than 0 and 1.
        """
        kind = self.plain()
        if len(raw) != count * kind.itemsize:
            raise ForbiddenStateError(f'{count} numbers of numpy are given by {len(raw)} bytes')
        # numpy counts true values by adding the bytes.
        if kind.kind == 'b' and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
            raise ForbiddenStateError('a truth value of numpy is neither 0 nor 1')

    def plain(self) -> np.dtype:
        try:
            return np.dtype(self._name).newbyteorder(self._order)
        except AttributeError as error:
            raise ForbiddenStateError('numpy.dtype has no name') from error


class _HistoryBuffer(HistoryBuffer):
    """Guard of a scalar's history, which becomes a plain `HistoryBuffer` with its state."""

    def __new__(cls, *args: object) -> _HistoryBuffer:
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        # numpy would read a memory address from the arguments.
        raise ForbiddenStateError('HistoryBuffer is called')

    def __setstate__(self, state: object) -> None:
        match state:
            case {
                '_log_history': _Array() as log,
                '_count_history': _Array() as count,
                'max_length': int(max_length),
            }:
                pass
            case _:
                raise ForbiddenStateError('a HistoryBuffer has another state than two arrays and a length')
        if log.ndim != 1 or log.shape != count.shape:
            raise ForbiddenStateError(f'a HistoryBuffer has arrays of shapes {log.shape} and {count.shape}')
        # The statistics of the file are ignored: mmengine would apply them to all buffers.
        self._set_default_statistics()
        self._log_history, self._count_history, self.max_length = log.plain(), count.plain(), max_length
        self.__class__ = HistoryBuffer


class _OneCycleParamScheduler:
    """Guard of a class that a file can name as the owner of two functions, but cannot instantiate."""

    def __new__(cls, *args: object) -> _OneCycleParamScheduler:
        raise ForbiddenStateError('OneCycleParamScheduler is called')


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _Array:
        raise ForbiddenStateError('numpy._reconstruct is called for another class than ndarray')
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(kind: object, raw: object) -> np.generic:
    if not isinstance(kind, _Dtype) or not isinstance(raw, bytes):
        raise ForbiddenStateError('numpy.scalar is called with other arguments than a dtype and bytes')
    kind.require(raw, 1)
    return np.frombuffer(raw, kind.plain())[0]


def _bytes(*args: object) -> bytes:
    """Guard of `bytes`, by which pickle's protocol 2 writes empty bytes."""
    if args:
        raise ForbiddenStateError('builtins.bytes is called with arguments')
    return b''


def _getattr(owner: object, name: object) -> Callable:
    """Guard of `getattr`, which would otherwise reach any object."""
    for guard, kind, names in _METHODS:
        if owner is guard and isinstance(name, str) and name in names:
            return getattr(kind, name)
    raise ForbiddenStateError("builtins.getattr is called for more than the functions of a Runner's state")


# Class functions that a Runner's state holds. Pickle names them by `getattr(class, name)`.
_METHODS = (
    (_HistoryBuffer, HistoryBuffer, ('min', 'max', 'mean', 'current')),
    (_OneCycleParamScheduler, OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')),
)
_GUARDED: dict[str, Any] = {
    'numpy.ndarray': _Array,
    'numpy.dtype': _Dtype,
    # numpy 1 and numpy 2 write different module names.
    **{f'numpy.{core}.multiarray._reconstruct': _reconstruct for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    'builtins.bytes': _bytes,
    'builtins.getattr': _getattr,
    **{f'{kind.__module__}.{kind.__qualname__}': guard for guard, kind, _ in _METHODS},
}


def _is_guarded(item: Any) -> bool:
    """Whether an item of torch's allow-list is guarded by this module, as an object or by name."""
    value, name = item if isinstance(item, tuple) else (item, f'{item.__module__}.{item.__qualname__}')
    is_dtype = isinstance(value, type) and issubclass(value, np.dtype)
    return is_dtype or name in _GUARDED or value is np.ndarray or value is HistoryBuffer


def _set_safe_globals(items: list) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(items)
