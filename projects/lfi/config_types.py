"""Types and data sets in the configs of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def type_name(config: Mapping) -> str:
    """The name of a config's type, without its scope, or torchvision's; '' without a type.

    Args:
        config: `dict(type=...)`; a lazy config names the class itself.
    """
    kind = config.get('type', '')
    name: str = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.replace('/', '.').rpartition('.')[2]


def leaves(dataset: object) -> Iterator[dict[str, Any]]:
    """The configs of the data sets that read images, inside those that wrap or join others.

    Args:
        dataset: the config of a data set, or a list of them.
    """
    if isinstance(dataset, list | tuple):
        for part in dataset:
            yield from leaves(part)
    elif isinstance(dataset, dict):
        inside = dataset.get('dataset', dataset.get('datasets'))
        if inside is None:
            yield dataset
        else:
            yield from leaves(inside)
