"""Lazy attributes of packages: a module is imported when one of its names is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .garbage import without_collector


def lazy_names(package: str, names: Mapping[str, tuple[str, ...]]) -> tuple[Callable[[str], Any], list[str]]:
    """Return the `__getattr__` and the `__all__` of a package that imports its modules lazily.

    Args:
        package: name of the package.
        names: public names of the package by their module.

    Returns:
        `__getattr__`, which raises an AttributeError for an unknown name, and the sorted names.
    """
    modules = {name: module for module, members in names.items() for name in members}

    def get_attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        with without_collector():
            module = import_module(f'{package}.{modules[name]}')
        return getattr(module, name)

    return get_attribute, sorted(modules)
