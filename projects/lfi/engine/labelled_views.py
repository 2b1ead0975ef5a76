"""More views of the labelled images, which a training with few labels repeats most."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheManifest, checksum, image_keys

MORE_VIEWS = 4
"""Views of a labelled image for each view of another image."""


def labelled_paths(cfg: Config) -> set[str]:
    """Return the paths of the labelled images of a training that has unlabelled ones, too; else none."""
    from lfi.datasets.labelled_images import labelled_mask, raw_info

    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    mask = labelled_mask(dataset)
    if mask.all():
        return set()
    return {raw_info(dataset, index)['img_path'] for index in np.flatnonzero(mask).tolist()}


def labelled_folder(folder: str | Path, paths: set[str], name_parts: int) -> Path:
    """Return the folder of the labelled images' cache, inside the cache of all images.

    The folder is named by the images: another seed labels others, and one cache of all images serves all.

    Args:
        folder: folder of the cache of all images.
        paths: paths of the labelled images.
        name_parts: number of last path parts that identify an image.
    """
    keys = np.sort(image_keys(sorted(paths), name_parts))
    return Path(folder) / f'labelled-{checksum(keys.tobytes())[:8]}'


def find_labelled_cache(cfg: Config, folder: str, manifest: CacheManifest) -> str | None:
    """Return the cache of the labelled images of a training, if there is one; log a note if one is missing.

    Args:
        cfg: config of the training.
        folder: folder of the cache of all images.
        manifest: its manifest, with drawn views.

    Raises:
        UsageError: if it is of another teacher, or holds views of other steps.
    """
    paths = labelled_paths(cfg)
    if not paths:
        return None
    labelled = labelled_folder(folder, paths, manifest.name_parts)
    if not (labelled / 'manifest.json').is_file():
        print_log(
            f'{folder} has {manifest.views} views of each labelled image, which this training repeats most. '
            f'lfi cache with the same arguments adds {MORE_VIEWS * manifest.views} of each',
            'current',
            logging.WARNING,
        )
        return None
    found = CacheManifest.read(labelled)
    for name in ('teacher', 'record', 'recipe', 'layers', 'directions', 'name_parts', 'loading'):
        if getattr(found, name) != getattr(manifest, name):
            raise UsageError(
                f'{labelled} and {folder} differ in {name}: remove {labelled}, and run lfi cache'
            )
    return str(labelled)
