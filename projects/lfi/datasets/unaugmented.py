"""Data sets as they are on disk."""

from __future__ import annotations

from mmengine.config import ConfigDict

from lfi.structures import CACHE_KEYS
from lfi.utils.config_types import configs_in, type_name

# They begin with 'Load', and read maps, or move pixels by steps of their own, which are taken one by one.
OF_MAPS = ('LoadInteractionMaps', 'LoadRegions')


def unaugmented(dataset: ConfigDict, steps: tuple[str, ...] = ('Load', 'Pack')) -> ConfigDict:
    """A data set's config whose pipelines, also those of data sets inside it, only load and pack.

    Of `lfi.FewLabels` all labels are hidden: which are known differs from seed to seed, and the same images
    serve all of them.

    Args:
        dataset: the config.
        steps: how the types of the transforms begin that stay. Defaults to ('Load', 'Pack').
    """

    def plain(value: object) -> object:
        if isinstance(value, dict):
            found = {k: kept(v) if k == 'pipeline' else plain(v) for k, v in value.items()}
            hidden = (
                {'labels_per_class': None, 'labelled_images': 0} if type_name(value) == 'FewLabels' else {}
            )
            return {**found, **hidden}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    def kept(pipeline: list[dict]) -> list[dict]:
        return [
            {
                k: [key for key in v if key not in CACHE_KEYS] if k.endswith('_keys') else v
                for k, v in step.items()
            }
            for step in configs_in(pipeline)
            if (name := type_name(step)).startswith(steps) and name not in OF_MAPS
        ]

    return ConfigDict(plain(dataset.to_dict()))
