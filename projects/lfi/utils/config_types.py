"""Types, data sets and models in the configs of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.config import Config


def type_name(config: Mapping) -> str:
    """The name of a config's type, without its scope, or torchvision's; '' without a type.

    Args:
        config: `dict(type=...)`; a lazy config names the class itself.
    """
    kind = config.get('type', '')
    name: str = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.replace('/', '.').rpartition('.')[2]


def parts(dataset: object, until: Callable[[dict], bool] | None = None) -> Iterator[dict[str, Any]]:
    """The config of a data set, and those of the data sets that it wraps or joins, outermost first.

    Args:
        dataset: the config of a data set, or a list of them.
        until: which data sets are not looked into. Defaults to None: none of them.
    """
    if isinstance(dataset, list | tuple):
        for part in dataset:
            yield from parts(part, until)
    elif isinstance(dataset, dict):
        yield dataset
        yield from parts(_inside(dataset, until), until)


def leaves(dataset: object, until: Callable[[dict], bool] | None = None) -> Iterator[dict[str, Any]]:
    """The configs of the data sets that read images, inside those that wrap or join others.

    Args:
        dataset: the config of a data set, or a list of them.
        until: which data sets are not looked into, but count as one. Defaults to None: none of them.
    """
    return (part for part in parts(dataset, until) if _inside(part, until) is None)


def configs_in(value: object) -> Iterator[dict[str, Any]]:
    """All configs in a config or a list, at any depth, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from configs_in(item)


def model_config(cfg: Config) -> dict:
    """The model's config as MMEngine's Runner completes it, by the run's `data_preprocessor`."""
    if cfg.get('data_preprocessor') is None:
        return cfg.model
    return {'data_preprocessor': cfg.data_preprocessor, **cfg.model}


def _inside(dataset: dict, until: Callable[[dict], bool] | None) -> Any:
    """What a data set wraps or joins; None where there is nothing, or it is not looked into."""
    if until is not None and until(dataset):
        return None
    return dataset.get('dataset', dataset.get('datasets'))
