"""The arguments of a teacher's config, bound as its class binds them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


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
    """
    arguments: dict[str, Any] = {}
    rest = dict(config)
    for owner in kind.__mro__[:-1]:
        if '__init__' not in vars(owner):
            continue
        signature = inspect.signature(vars(owner)['__init__'])
        try:
            bound = signature.bind(None, **rest)
        except TypeError as error:
            raise TypeError(f'{kind.__name__}: {error}') from error
        bound.apply_defaults()
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        more = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        rest = bound.arguments.pop(more[0]) if more else {}
        own = list(bound.arguments.items())[1:]
        arguments.update((name, v) for name, v in own if kinds[name] is not inspect.Parameter.VAR_POSITIONAL)
        if not more:
            break
    if rest:
        raise TypeError(f'{kind.__name__}: no class takes the arguments {", ".join(rest)}')
    return arguments
