"""Checkpoints that abuse the classes which a Runner's checkpoint needs: no code, only calls and states.

A reader that lets a file use numpy's and mmengine's own classes crashes on some of them; others change the
process.
"""

from __future__ import annotations

import copyreg
import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

POINTER = b'AAAAAAAA'
ADDRESS = int.from_bytes(POINTER, 'little')
OBJECTS = 63  # All flags of a dtype, "holds objects" among them.
MULTIARRAY = (np._core if hasattr(np, '_core') else np.core).multiarray


class Call:
    """Calls a function when it is unpickled, and hands states to the result, one after another."""

    def __init__(self, function: Callable, *args: Any, states: Sequence = ()) -> None:
        self.function, self.args, self.states = function, args, states

    def __reduce__(self) -> tuple:
        return self.function, self.args


def new(kind: type, *args: Any, states: Sequence = ()) -> Call:
    """Calls `__new__` of a class alone."""
    return Call(copyreg.__newobj__, kind, *args, states=states)


class Pickler(pickle._Pickler):
    """Pickles a `Call`, also one of `__newobj__` though it is no instance of the class."""

    def save_reduce(self, func, args, *rest, obj=None, **named) -> None:
        if func is copyreg.__newobj__:
            self.save(args[0])
            self.save(args[1:])
            self.write(pickle.NEWOBJ)
            self.memoize(obj)
        else:
            super().save_reduce(func, args, *rest, obj=obj, **named)
        for state in obj.states if isinstance(obj, Call) else ():
            self.save(state)
            self.write(pickle.BUILD)


def dtype(name: str = 'f8', order: str = '<', flags: int = 0) -> Call:
    state = (3, order, None, None, None, -1, -1, flags)
    return Call(np.dtype, name, False, True, states=[state])


def array(kind: Any, raw: bytes = POINTER, shape: tuple = (1,), times: int = 1) -> Call:
    states = [(1, shape, kind, False, raw)] * times
    return Call(MULTIARRAY._reconstruct, np.ndarray, (0,), b'b', states=states)


def at_an_address() -> Call:
    """An object that numpy takes for an array at an address of the file's choice."""
    interface = dict(data=(ADDRESS, False), shape=(1,), typestr='<f8', version=3)
    return Call(OrderedDict, states=[{'__array_interface__': interface}])


def history(log: Any, **state: Any) -> Call:
    return new(HistoryBuffer, states=[dict(_log_history=log, _count_history=log, max_length=1, **state)])


# `OrderedDict` iterates over an array, and so follows its pointers.
HOSTILE: dict[str, Callable[[], Call]] = {
    'an array of objects over raw bytes': lambda: Call(OrderedDict, Call(np.ndarray, (1,), 'O', POINTER)),
    'the same, made by `__new__`': lambda: Call(OrderedDict, new(np.ndarray, (1,), 'O', POINTER)),
    'an address in memory for numpy to read': lambda: Call(HistoryBuffer, [at_an_address()], [1]),
    'an array of 2^46 bytes': lambda: Call(np.ndarray, (1 << 46,), 'u1'),
    'a dtype of numbers with the flags of objects': lambda: array(dtype(flags=OBJECTS)),
    'a number of a dtype of objects': lambda: Call(MULTIARRAY.scalar, dtype('O'), POINTER),
    'a dtype with a field of objects': lambda: array(Call(np.dtype, [('a', 'O')])),
    'a dtype that holds arrays of objects': lambda: array(Call(np.dtype, ('O', (2, 2)))),
    'an array larger than its bytes': lambda: array(dtype(), POINTER, (2,)),
    'an array that is filled twice': lambda: array(dtype(), times=2),
    'a truth value that is neither 0 nor 1': lambda: array(dtype('b1', '|'), b'\x07'),
    'a history that is no array': lambda: history(at_an_address()),
    "functions of the file as mmengine's statistics": lambda: history(
        array(dtype()), statistics_methods=dict(mean=bytearray)
    ),
}

# Those that crash a reader which trusts them.
CRASHING = (
    'an array of objects over raw bytes',
    'the same, made by `__new__`',
    'an address in memory for numpy to read',
    'a number of a dtype of objects',
)


def write_hostile(file: Path, name: str, content: dict | None = None) -> None:
    """Write a checkpoint that holds one of `HOSTILE` beside its content."""
    module = SimpleNamespace(__name__='hostile', Pickler=Pickler)
    torch.save({**(content or {}), 'payload': HOSTILE[name]()}, file, pickle_module=module)
