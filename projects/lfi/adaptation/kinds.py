"""Look-ups of the registered classes that configs name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS, Registry


def registered_class(config: Mapping, registry: Registry, scope: str | None) -> Any:
    """Return the class that a config's type names, or None if none is registered.

    Args:
        config: `dict(type=...)`.
        registry: root registry of MMEngine.
        scope: registry scope of unscoped types.
    """
    name = config.get('type')
    if not isinstance(name, str):
        return name
    with registry.switch_scope_and_registry(config.get('_scope_', scope)) as scoped_registry:
        return scoped_registry.get(name)


def scoped_type(config: Mapping, scope: str) -> str:
    """Return the type that a config names, with its scope."""
    name = str(config['type'])
    return name if '.' in name else f'{config.get("_scope_", scope)}.{name}'


def without_downloads(dataset: Any, scope: str | None) -> Any:
    """Return a data set's config with `download=False`, also in the data sets inside it.

    Args:
        dataset: config of a data set, or a list of these.
        scope: registry scope of unscoped types.
    """
    if isinstance(dataset, list | tuple):
        return [without_downloads(part, scope) for part in dataset]
    if not isinstance(dataset, Mapping):
        return dataset
    config = {
        key: without_downloads(value, scope) if key in ('dataset', 'datasets') else value
        for key, value in dataset.items()
    }
    dataset_class: Any = registered_class(dataset, DATASETS, scope)
    can_download = dataset_class is not None and 'download' in inspect.signature(dataset_class).parameters
    return {**config, 'download': False} if can_download else config
