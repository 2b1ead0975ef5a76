"""The arguments of a teacher's config, bound as its class binds them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

REMOVED = dict.fromkeys(('scales', 'window', 'flip'), 'a larger input_size')
"""Arguments that `VLMAttentionTeacher` had, and what to use instead."""


def bind_arguments(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments that a class would be built with, defaults included.

    What an `__init__` takes as `**kwargs` is bound by that of the next class in the method resolution order,
    to which it is handed on.

    Args:
        kind: the class.
        config: the arguments by name, without `type`.

    Returns:
        Each argument by its name.

    Raises:
        TypeError: if an argument is missing, or no class takes it.
        ValueError: if an argument was removed; the message says what to use instead.
    """
    arguments: dict[str, Any] = {}
    rest = dict(config)
    for owner in kind.__mro__[:-1]:
        if '__init__' not in vars(owner):
            continue
        signature = inspect.signature(vars(owner)['__init__'])
        bound = signature.bind(None, **rest)
        bound.apply_defaults()
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        more = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        rest = bound.arguments.pop(more[0]) if more else {}
        own = list(bound.arguments.items())[1:]
        arguments.update((name, v) for name, v in own if kinds[name] is not inspect.Parameter.VAR_POSITIONAL)
        if not more:
            break
    refuse_unknown(kind, rest)
    return arguments


def refuse_unknown(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raise an error if any argument is left that no class takes.

    Args:
        kind: the class that was to be built.
        arguments: what is left.

    Raises:
        ValueError: for an argument that was removed.
        TypeError: for any other.
    """
    for name, value in arguments.items():
        if name in REMOVED:
            raise ValueError(
                f'{name}={value!r} is not an argument of a teacher any more: use {REMOVED[name]}'
            )
        raise TypeError(f'{kind.__name__} has no argument {name!r}')
