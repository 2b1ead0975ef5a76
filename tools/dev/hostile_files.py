"""Checkpoints that abuse the classes which a Runner's checkpoint needs: no code, only calls and states.

A reader that lets a file use numpy's and mmengine's own classes crashes on some of them; others change the
process. Further ones contradict themselves, or hold few objects a great many times.
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
    """Pickles a `Call`, also one of `__newobj__` though it is not an instance of the class."""

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
    """An object that numpy takes for an array at an address of the file's choice."""
    interface = dict(data=(ADDRESS, False), shape=(1,), typestr='<f8', version=3)
    return Call(OrderedDict, states=[{'__array_interface__': interface}])


def history(log: Any, **state: Any) -> Call:
    return new(HistoryBuffer, states=[dict(_log_history=log, _count_history=log, max_length=1, **state)])


def view(offset: int = 0, size: int = 4, stride: int = 1) -> Call:
    """A tensor in a storage of four numbers."""
    storage = torch.zeros(4)._typed_storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, (size,), (stride,), False, OrderedDict())


def sparse(index: int) -> Call:
    """A sparse tensor of one number, whose shape is (1,)."""
    data = (torch.tensor([[index]]), torch.ones(1), (1,), True)
    return Call(torch._utils._rebuild_sparse_tensor, torch.sparse_coo, data)


def tuple_bomb() -> tuple:
    """A tuple that holds 2^40 tuples, all of them one of 41."""
    value = ()
    for _ in range(40):
        value = (value, value)
    return value


# `OrderedDict` iterates over an array, and so follows its pointers.
HOSTILE: dict[str, Callable[[], Any]] = {
    'an array of objects over raw bytes': lambda: Call(OrderedDict, Call(np.ndarray, (1,), 'O', POINTER)),
    'the same, made by `__new__`': lambda: Call(OrderedDict, new(np.ndarray, (1,), 'O', POINTER)),
    'an address in memory for numpy to read': lambda: Call(HistoryBuffer, [at_an_address()], [1]),
    'an array of 2^46 bytes': lambda: Call(np.ndarray, (1 << 46,), 'u1'),
    'a dtype of numbers with the flags of objects': lambda: array(dtype(flags=OBJECTS)),
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

# Harmless to a reader that looks at each tuple once.
BOMB = 'a tuple that holds 2^40 tuples'
HOSTILE[BOMB] = tuple_bomb

# Tensors that are not what their storage is.
CONTRADICTORY: dict[str, Callable[[], Call]] = {
    'a tensor that ends behind its storage': lambda: view(size=64),
    'a tensor that begins before its storage': lambda: view(offset=-100),
    'a tensor that runs backwards': lambda: view(offset=3, stride=-1),
    'a sparse tensor with an index outside its shape': lambda: sparse(1 << 40),
}

# Those that crash a reader which trusts them.
CRASHING = (
    'an array of objects over raw bytes',
    'the same, made by `__new__`',
    'an address in memory for numpy to read',
    'a number of a dtype of objects',
)


def write_hostile(file: Path, name: str, content: dict | None = None) -> None:
    """Write a checkpoint that holds one of `HOSTILE` or `CONTRADICTORY` beside its content."""
    module = SimpleNamespace(__name__='hostile', Pickler=Pickler)
    payload = (HOSTILE | CONTRADICTORY)[name]()
    torch.save({**(content or {}), 'payload': payload}, file, pickle_module=module)


def shorten_storage(source: Path, file: Path) -> None:
    """Copy a checkpoint without most of its first tensor's bytes, under checksums that match."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, 'w') as new_file:
        for name in old.namelist():
            content = old.read(name)
            new_file.writestr(name, content[:4] if name.endswith('/data/0') else content)
