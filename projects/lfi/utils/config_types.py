"""Queries of a run's config: types, data sets and the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.config import Config


def type_name(config: Mapping) -> str:
    """Return the name of a config's type without its scope (or `torchvision/`); '' without a type.

    Args:
        config: `dict(type=...)`, with a name, or with a class in a lazy config.
    """
    kind = config.get('type', '')
    name: str = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.replace('/', '.').rpartition('.')[2]


def dataset_configs(
    dataset: object, stop_at: Callable[[dict], bool] | None = None
) -> Iterator[dict[str, Any]]:
    """Iterate over the configs of a data set and of the data sets inside it, outermost first.

    Args:
        dataset: config of a data set, or a list of configs.
        stop_at: predicate of data sets whose inside is skipped. Defaults to None: nothing is skipped.
    """
    if isinstance(dataset, list | tuple):
        for config in dataset:
            yield from dataset_configs(config, stop_at)
    elif isinstance(dataset, dict):
        yield dataset
        yield from dataset_configs(_inner(dataset, stop_at), stop_at)


def leaf_configs(dataset: object, stop_at: Callable[[dict], bool] | None = None) -> Iterator[dict[str, Any]]:
    """Iterate over the configs of the data sets that read images, inside wrappers and concatenations.

    Args:
        dataset: config of a data set, or a list of configs.
        stop_at: predicate of wrappers that count as leaves. Defaults to None: no wrapper does.
    """
    return (config for config in dataset_configs(dataset, stop_at) if _inner(config, stop_at) is None)


def configs_in(value: object) -> Iterator[dict[str, Any]]:
    """Iterate over all configs in a config or a list, at any depth, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from configs_in(item)


def model_config(cfg: Config) -> dict:
    """Return the model's config with the run's `data_preprocessor`, as MMEngine's Runner builds it."""
    if cfg.get('data_preprocessor') is None:
        return cfg.model
    return {'data_preprocessor': cfg.data_preprocessor, **cfg.model}


def _inner(dataset: dict, stop_at: Callable[[dict], bool] | None) -> Any:
    """Return the config or list of configs inside a data set; None if it is a leaf, or `stop_at` holds."""
    if stop_at is not None and stop_at(dataset):
        return None
    return dataset.get('dataset', dataset.get('datasets'))
