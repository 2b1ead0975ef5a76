"""Names that a package offers, whose modules are imported when one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, names: Mapping[str, tuple[str, ...]]) -> tuple[Callable[[str], Any], list[str]]:
    """The `__getattr__` and the `__all__` of a package that imports none of its modules by itself.

    Args:
        package: its name.
        names: what it offers, by the module that has it.

    Raises:
        AttributeError: by the function that is returned, for a name that is not among them.
    """
    module_of = {name: module for module, offered in names.items() for name in offered}

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(import_module(f'{package}.{module_of[name]}'), name)

    return find, sorted(module_of)
