"""Search and replacement of the objects in a checkpoint, without recursion."""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

# Saving, copying and printing recurse, and Python allows about 1000 nested calls.
_MAX_DEPTH = 300
# Frequent types that hold no objects.
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
# Types of objects that belong to the program, not to the file, and are not searched.
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)


def reachable(content: Any, leaves: tuple[type, ...] = ()) -> list[Any]:
    """Return all objects that an object holds, in containers and attributes of any kind.

    Args:
        content: Object to search.
        leaves: Types of objects that are not searched. Defaults to ().

    Returns:
        The object and all objects that it holds, each once, without numbers, strings and bytes.

    Raises:
        RecursionError: If objects are nested too deeply to be saved or copied.
    """
    # References keep the ids valid.
    objects: dict[int, Any] = {}
    level = [content]
    for _ in range(_MAX_DEPTH):
        next_level: list[Any] = []
        for value in level:
            if type(value) in _ATOMS or id(value) in objects:
                continue
            objects[id(value)] = value
            if not isinstance(value, _CODE + leaves):
                next_level.extend(gc.get_referents(value))
        if not next_level:
            return list(objects.values())
        level = next_level
    raise RecursionError(f'it holds objects more than {_MAX_DEPTH} deep')


def exchange(content: Any, objects: Sequence[Any], new: dict[int, Any]) -> Any:
    """Replace objects in dicts (values and keys), sequences, sets and attributes.

    Slots of classes and contents of extension objects are not changed.

    Args:
        content: Object that holds the old objects, changed in place except for tuples and frozensets.
        objects: Objects in the content, from `reachable`.
        new: Id of an old object to the new object. Rebuilt tuples and frozensets are added.

    Returns:
        The content, or the rebuilt tuple or frozenset in its place.
    """
    done: set[int] = set()
    for value in objects:
        if isinstance(value, tuple | frozenset):
            _rebuild(value, new, done)
    for value in objects:
        _update(value, new)
    return new.get(id(content), content)


def _rebuild(value: tuple | frozenset, new: dict[int, Any], done: set[int]) -> None:
    """Rebuild a tuple or frozenset that holds an object to replace, after its parts."""
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
                new[id(value)] = _copy_with_new_parts(value, new)
        todo.pop()


def _copy_with_new_parts(value: tuple | frozenset, new: dict[int, Any]) -> tuple | frozenset:
    parts = _new_parts(value, new)
    copy: tuple | frozenset
    try:
        if isinstance(value, tuple):
            copy = tuple.__new__(type(value), parts)
        else:
            copy = frozenset.__new__(type(value), parts)
    except TypeError:
        # Some types of tuples, such as `time.struct_time`, cannot be made in this way.
        return value
    if hasattr(value, '__dict__'):
        vars(copy).update(vars(value))
    return copy


def _update(value: Any, new: dict[int, Any]) -> None:
    """Replace objects in a mutable container or in the attributes of an object."""
    if isinstance(value, _CODE):
        return
    if isinstance(value, dict):
        _update_dict(value, new)
    elif isinstance(value, list | deque):
        for index, part in enumerate(value):
            if id(part) in new:
                value[index] = new[id(part)]
    elif isinstance(value, set) and any(id(part) in new for part in value):
        parts = _new_parts(value, new)
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
            kind.__setitem__(value, *_new_parts(item, new))


def _new_parts(parts: Iterable[Any], new: dict[int, Any]) -> list[Any]:
    return [new.get(id(part), part) for part in parts]
