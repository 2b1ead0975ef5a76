"""Data-set configs without augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmengine.config import ConfigDict

from lfi.structures import CACHE_KEYS
from lfi.utils.config_types import configs_in, type_name

from .transforms.view_draws import COLOURS

# These types begin with 'Load', but read maps or hold transforms, which `configs_in` yields one by one.
MAP_LOADERS = ('LoadInteractionMaps', 'LoadRegions')


def unaugmented(dataset: ConfigDict, steps: tuple[str, ...] = ('Load', 'Pack')) -> ConfigDict:
    """Return a data-set config whose pipelines, at any depth, only load and pack.

    All labels of `lfi.FewLabels` are hidden: the known labels depend on the seed, and one cache serves all
    seeds.

    Args:
        dataset: config of the data set.
        steps: prefixes of the types of the transforms to keep. Defaults to ('Load', 'Pack').
    """

    def filter_steps(pipeline: list[dict]) -> list[dict]:
        return [
            _packing_path(_without_keys(step, CACHE_KEYS))
            for step in configs_in(pipeline)
            if (name := type_name(step)).startswith(steps) and name not in MAP_LOADERS
        ]

    return _with_pipelines(dataset, filter_steps)


def with_recorded_views(dataset: ConfigDict) -> ConfigDict:
    """Return a data-set config whose pipelines load, run each `lfi.RecordView`, and pack the view.

    Labels are hidden as in `unaugmented`.

    Args:
        dataset: config of the data set.
    """

    def filter_steps(pipeline: list[dict]) -> list[dict]:
        return [
            _packing_path(_packing_colours(_without_keys(step, ('interaction_maps',))))
            for step in pipeline
            if (name := type_name(step)).startswith(('Load', 'Pack', 'RecordView'))
            and name not in MAP_LOADERS
        ]

    return _with_pipelines(dataset, filter_steps)


def _packing_path(step: dict) -> dict:
    """Return the config of a step that packs, with the image's path, by which `lfi cache` knows the image."""
    keys = step.get('meta_keys')
    return step if keys is None or 'img_path' in keys else {**step, 'meta_keys': [*keys, 'img_path']}


def _packing_colours(step: dict) -> dict:
    """Return the config of a step that packs the colours of a view beside the view."""
    return {
        name: [*value, COLOURS] if name.endswith('_keys') and 'view' in value else value
        for name, value in step.items()
    }


def _without_keys(step: dict, keys: Sequence[str]) -> dict:
    """Return the config of a step that packs without some keys."""
    return {
        name: [key for key in value if key not in keys] if name.endswith('_keys') else value
        for name, value in step.items()
    }


def _with_pipelines(dataset: ConfigDict, filter_steps: Callable[[list[dict]], list[dict]]) -> ConfigDict:
    """Return a data-set config with filtered pipelines at any depth, and with hidden labels.

    Args:
        dataset: config of the data set.
        filter_steps: function from a pipeline to the steps that stay.
    """

    def without_augmentation(value: object) -> object:
        if isinstance(value, dict):
            config = {
                k: filter_steps(v) if k == 'pipeline' else without_augmentation(v) for k, v in value.items()
            }
            if type_name(value) == 'FewLabels':
                config |= {'labels_per_class': None, 'labelled_images': 0}
            return config
        return [without_augmentation(v) for v in value] if isinstance(value, list | tuple) else value

    return ConfigDict(without_augmentation(dataset.to_dict()))
