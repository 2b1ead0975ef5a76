"""The objects that a checkpoint holds: found, and exchanged for others, each once and without recursion."""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

# Who saves, copies or prints a content goes by recursion, of which Python allows about 1000 calls.
_MAX_DEPTH = 300
# They hold nothing, and are many.
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
# They belong to the program, not to the file: what they hold is not looked at.
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)


def reachable(content: Any, leaves: tuple[type, ...] = ()) -> list[Any]:
    """Find all that an object holds, in containers and attributes of any kind.

    Args:
        content: The object.
        leaves: Types of objects that are not looked into. Defaults to none.

    Returns:
        The object and what it holds, each once, without numbers, strings and bytes.

    Raises:
        RecursionError: If objects are nested too deep for others to save or copy them.
    """
    # The objects are kept, so that no other one gets the id of one of them.
    found: dict[int, Any] = {}
    level = [content]
    for _ in range(_MAX_DEPTH):
        held: list[Any] = []
        for value in level:
            if type(value) in _ATOMS or id(value) in found:
                continue
            found[id(value)] = value
            if not isinstance(value, _CODE + leaves):
                held.extend(gc.get_referents(value))
        if not held:
            return list(found.values())
        level = held
    raise RecursionError(f'it holds objects more than {_MAX_DEPTH} deep')


def exchange(content: Any, found: Sequence[Any], new: dict[int, Any]) -> Any:
    """Put other objects in the place of some: in dicts (keys too), sequences, sets and attributes.

    Slots of classes, and what an extension's object holds, are left as they are.

    Args:
        content: The object that holds them. It is changed in place, but for tuples and frozensets.
        found: What `reachable` found in it.
        new: The new objects, by the ids of the old ones. Tuples and frozensets that are made anew are added.

    Returns:
        The content, or the tuple or frozenset in its place.
    """
    done: set[int] = set()
    for value in found:
        if isinstance(value, tuple | frozenset):
            _rebuild(value, new, done)
    for value in found:
        _update(value, new)
    return new.get(id(content), content)


def _rebuild(value: tuple | frozenset, new: dict[int, Any], done: set[int]) -> None:
    """Make a tuple or frozenset anew if it holds an object to be exchanged, its parts first."""
    todo = [value]
    while todo:
        value = todo[-1]
        if id(value) not in done:
            parts = [part for part in value if isinstance(part, tuple | frozenset) and id(part) not in done]
            if parts:
                todo.extend(parts)
                continue
            done.add(id(value))
            if any(id(part) in new for part in value):
                new[id(value)] = _remade(value, new)
        todo.pop()


def _remade(value: tuple | frozenset, new: dict[int, Any]) -> tuple | frozenset:
    parts = _exchanged(value, new)
    copy: tuple | frozenset
    try:
        if isinstance(value, tuple):
            copy = tuple.__new__(type(value), parts)
        else:
            copy = frozenset.__new__(type(value), parts)
    except TypeError:
        # Some types of tuples, such as `time.struct_time`, refuse.
        return value
    if hasattr(value, '__dict__'):
        vars(copy).update(vars(value))
    return copy


def _update(value: Any, new: dict[int, Any]) -> None:
    """Exchange what a mutable container, or an object's attributes, hold."""
    if isinstance(value, _CODE):
        return
    if isinstance(value, dict):
        _update_dict(value, new)
    elif isinstance(value, list | deque):
        for index, part in enumerate(value):
            if id(part) in new:
                value[index] = new[id(part)]
    elif isinstance(value, set) and any(id(part) in new for part in value):
        parts = _exchanged(value, new)
        value.clear()
        value.update(parts)
    attributes = getattr(value, '__dict__', None)
    if type(attributes) is dict:
        _update_dict(attributes, new)


def _update_dict(value: dict, new: dict[int, Any]) -> None:
    # A file can hide the methods of an `OrderedDict` behind attributes.
    kind = OrderedDict if isinstance(value, OrderedDict) else dict
    items = list(kind.items(value))
    if any(id(part) in new for item in items for part in item):
        kind.clear(value)
        for item in items:
            kind.__setitem__(value, *_exchanged(item, new))


def _exchanged(parts: Iterable[Any], new: dict[int, Any]) -> list[Any]:
    return [new.get(id(part), part) for part in parts]
