"""A cache of the teacher's maps for one batch, as tools/cache_teacher.py writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from lfi.models.batches import pixel_format
from lfi.models.teachers import CacheManifest, CacheWriter, InteractionCache, teacher_identity
from lfi.structures import pack
from lfi.structures.interaction_cache import keys_of


def write_cache(folder: str, model: torch.nn.Module, data: dict) -> None:
    """Keep the maps of a preprocessed batch, and give its samples what workers would read."""
    samples = data['data_samples']
    labels = model.concept_labels(samples)
    maps = model.teacher(data['inputs'], pixel_format(model.data_preprocessor), labels)
    keys = keys_of([sample.img_path for sample in samples], 2)
    texts = model.teacher.texts.cpu().numpy()
    manifest = CacheManifest.of(teacher_identity(model._teacher_cfg), keys, 2, texts, maps)
    CacheWriter(Path(folder), manifest, keys, texts).write(0, pack(maps))
    cache = InteractionCache(folder)
    for sample in samples:
        sample.set_field(cache.stored(sample.img_path), 'interaction_maps')
