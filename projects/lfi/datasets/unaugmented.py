"""Data-set configs without augmentation."""

from __future__ import annotations

from mmengine.config import ConfigDict

from lfi.structures import CACHE_KEYS
from lfi.utils.config_types import configs_in, type_name

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

    def without_augmentation(value: object) -> object:
        if isinstance(value, dict):
            config = {
                k: filter_steps(v) if k == 'pipeline' else without_augmentation(v) for k, v in value.items()
            }
            if type_name(value) == 'FewLabels':
                config |= {'labels_per_class': None, 'labelled_images': 0}
            return config
        return [without_augmentation(v) for v in value] if isinstance(value, list | tuple) else value

    def filter_steps(pipeline: list[dict]) -> list[dict]:
        return [
            {
                k: [key for key in v if key not in CACHE_KEYS] if k.endswith('_keys') else v
                for k, v in step.items()
            }
            for step in configs_in(pipeline)
            if (name := type_name(step)).startswith(steps) and name not in MAP_LOADERS
        ]

    return ConfigDict(without_augmentation(dataset.to_dict()))
