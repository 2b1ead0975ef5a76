"""The classes that a config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS, Registry


def kind_of(config: Mapping, registry: Registry, scope: str | None) -> Any:
    """The class that a config's type names, or None where none is registered.

    Args:
        config: `dict(type=...)`.
        registry: of MMEngine, above those of all projects.
        scope: where a type is looked up that names no scope.
    """
    kind = config.get('type')
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(config.get('_scope_', scope)) as own:
        return own.get(kind)


def with_scope(config: Mapping, scope: str) -> str:
    """The type that a config names, with its scope."""
    kind = str(config['type'])
    return kind if '.' in kind else f'{config.get("_scope_", scope)}.{kind}'


def offline(dataset: Any, scope: str | None) -> Any:
    """A data set's config, with all inside it, that fetches nothing.

    Args:
        dataset: the config.
        scope: where types are looked up that name no scope.
    """
    if isinstance(dataset, list | tuple):
        return [offline(part, scope) for part in dataset]
    if not isinstance(dataset, Mapping):
        return dataset
    found = {
        key: offline(value, scope) if key in ('dataset', 'datasets') else value
        for key, value in dataset.items()
    }
    kind: Any = kind_of(dataset, DATASETS, scope)
    fetches = kind is not None and 'download' in inspect.signature(kind).parameters
    return {**found, 'download': False} if fetches else found
