"""Hostile checkpoints that abuse the classes of a Runner's checkpoint: without code, by calls and states.

Some crash a reader that gives a file access to the classes of numpy and mmengine; others change its process.
Further files contradict themselves, or refer to a few objects a huge number of times.
"""

from __future__ import annotations

import copyreg
import pickle
import zipfile
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
OBJECT_FLAGS = 63  # All flags of a dtype, including "holds objects".
MULTIARRAY = (np._core if hasattr(np, '_core') else np.core).multiarray


class Call:
    """Object that is unpickled as a function call; the result then receives each of the states."""

    def __init__(self, function: Callable, *args: Any, states: Sequence = ()) -> None:
        self.function, self.args, self.states = function, args, states

    def __reduce__(self) -> tuple:
        return self.function, self.args


def new(kind: type, *args: Any, states: Sequence = ()) -> Call:
    """Build a call of a class's `__new__` without `__init__`."""
    return Call(copyreg.__newobj__, kind, *args, states=states)


class Pickler(pickle._Pickler):
    """Pickler of `Call`s, including those of `__newobj__`, which are not instances of the class."""

    def save_reduce(self, func, args, *rest, obj=None, **named) -> None:
        if func is copyreg.__newobj__ and isinstance(obj, Call):
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
    """Build an object that numpy reads as an array at an address of the file's choice."""
    interface = dict(data=(ADDRESS, False), shape=(1,), typestr='<f8', version=3)
    return Call(OrderedDict, states=[{'__array_interface__': interface}])


def history(log: Any, **state: Any) -> Call:
    return new(HistoryBuffer, states=[dict(_log_history=log, _count_history=log, max_length=1, **state)])


def view(offset: int = 0, size: int = 4, stride: int = 1) -> Call:
    """Build a tensor in a storage of four numbers."""
    storage = torch.zeros(4)._typed_storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, (size,), (stride,), False, OrderedDict())


def sparse(index: int) -> Call:
    """Build a sparse tensor with one number and shape (1,)."""
    data = (torch.tensor([[index]]), torch.ones(1), (1,), True)
    return Call(torch._utils._rebuild_sparse_tensor, torch.sparse_coo, data)


def tuple_bomb() -> tuple:
    """Build a nested tuple of 41 objects that has 2^40 elements when traversed."""
    value = ()
    for _ in range(40):
        value = (value, value)
    return value


# `OrderedDict` iterates over an array, and so dereferences its pointers.
HOSTILE: dict[str, Callable[[], Any]] = {
    'an array of objects over raw bytes': lambda: Call(OrderedDict, Call(np.ndarray, (1,), 'O', POINTER)),
    'the same, made by `__new__`': lambda: Call(OrderedDict, new(np.ndarray, (1,), 'O', POINTER)),
    'an address in memory for numpy to read': lambda: Call(HistoryBuffer, [at_an_address()], [1]),
    'an array of 2^46 bytes': lambda: Call(np.ndarray, (1 << 46,), 'u1'),
    'a dtype of numbers with the flags of objects': lambda: array(dtype(flags=OBJECT_FLAGS)),
    'a number of a dtype of objects': lambda: Call(MULTIARRAY.scalar, dtype('O'), POINTER),
    'a dtype with a field of objects': lambda: array(Call(np.dtype, [('a', 'O')])),
    'a dtype that holds arrays of objects': lambda: array(Call(np.dtype, ('O', (2, 2)))),
    'an empty array of too many numbers': lambda: array(dtype(), b'', (1 << 62, 1 << 62, 0)),
    'an array larger than its bytes': lambda: array(dtype(), POINTER, (2,)),
    'an array that is filled twice': lambda: array(dtype(), times=2),
    'a truth value that is neither 0 nor 1': lambda: array(dtype('b1', '|'), b'\x07'),
    'a history that is no array': lambda: history(at_an_address()),
    'a history without a state': lambda: new(HistoryBuffer),
    'a class of numpy that is not called': lambda: np.ndarray,
    'a function that is not called': lambda: getattr,
    "functions of the file as mmengine's statistics": lambda: history(
        array(dtype()), statistics_methods=dict(mean=bytearray)
    ),
}

# Harmless to a reader that visits each tuple once.
BOMB = 'a tuple that holds 2^40 tuples'
HOSTILE[BOMB] = tuple_bomb

# Tensors that do not fit their storage.
CONTRADICTORY: dict[str, Callable[[], Call]] = {
    'a tensor that ends behind its storage': lambda: view(size=64),
    'a tensor that begins before its storage': lambda: view(offset=-100),
    'a tensor that runs backwards': lambda: view(offset=3, stride=-1),
    'a sparse tensor with an index outside its shape': lambda: sparse(1 << 40),
}

# Names in `HOSTILE` that crash a reader without checks.
CRASHING = (
    'an array of objects over raw bytes',
    'the same, made by `__new__`',
    'an address in memory for numpy to read',
    'a number of a dtype of objects',
)


def write_hostile(file: Path, name: str, content: dict | None = None) -> None:
    """Write a checkpoint with `content` and an entry of `HOSTILE` or `CONTRADICTORY`."""
    module = SimpleNamespace(__name__='hostile', Pickler=Pickler)
    payload = (HOSTILE | CONTRADICTORY)[name]()
    torch.save({**(content or {}), 'payload': payload}, file, pickle_module=module)


def shorten_storage(source: Path, file: Path) -> None:
    """Copy a checkpoint with a truncated first tensor and matching checksums."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, 'w') as new_file:
        for name in old.namelist():
            content = old.read(name)
            new_file.writestr(name, content[:4] if name.endswith('/data/0') else content)
