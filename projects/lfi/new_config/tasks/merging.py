"""Merging of the variables of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfi.adaptation.source import Call, Expression


def merge(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into the variables of a config, as inheritance does.

    A dict with `_delete_` replaces the dict of the same name, and keeps `_delete_` for the bases.
    """
    # Pipelines that the changes add stand before the data loaders that name them.
    new = {name: value for name, value in changes.items() if isinstance(value, list) and name not in config}
    merged = {**new, **config}
    for name, value in changes.items():
        old = config.get(name)
        if isinstance(old, Expression) and value == changes.get(old.text):
            # `test_dataloader = val_dataloader`, of which both are changed alike: the name has the change.
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping) and '_delete_' not in value:
            merged[name] = merge(old, value)
        else:
            merged[name] = value
    return merged


def without_delete(value: Any) -> Any:
    """Remove `_delete_` from a config that has no base: MMEngine would pass it to a type."""
    if not isinstance(value, Mapping) or isinstance(value, Call):
        return value
    return {name: without_delete(item) for name, item in value.items() if name != '_delete_'}
