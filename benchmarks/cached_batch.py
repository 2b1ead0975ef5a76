"""A cache of the teacher's outputs for one batch, as lfi cache writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from lfi.engine.cache_labels import KNOWN
from lfi.models.teachers import TeacherBatch
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, InteractionCache, keys_of


def write_cache(folder: str, model: torch.nn.Module, data: dict) -> None:
    """Write what a model's teacher says of a batch, and give the samples what workers would read.

    Args:
        folder: of the cache.
        model: a `TeacherMixin` with an online teacher.
        data: a preprocessed batch, `inputs` (B, 3, H, W) and `data_samples`; `img_path` of a sample names its
            image, and `interaction_maps` is set.
    """
    inputs, samples = data['inputs'], data['data_samples']
    sizes = [tuple(inputs.shape[-2:])] * len(inputs)
    maps = model.maps_to_cache(TeacherBatch(inputs, model.pixels, sizes), samples)
    keys = keys_of([sample.img_path for sample in samples], 2)
    texts = model.teacher.texts.cpu().numpy()
    manifest = CacheManifest.of(model.cache_identity(), keys, 2, texts, maps, labels=KNOWN)
    CacheWriter(Path(folder), manifest, keys, texts).write(0, pack(maps))
    cache = InteractionCache(folder)
    for sample in samples:
        sample.set_field(cache.stored([sample.img_path]), 'interaction_maps')
