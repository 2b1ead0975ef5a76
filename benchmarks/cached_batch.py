"""Cache of the teacher's outputs for one batch, in the format of lfi cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lfi.models import Student
from lfi.models.teachers import CachedTeacher, cache_kind, features_to_cache, maps_to_cache
from lfi.structures import pack
from lfi.structures.interaction_cache import (
    CacheManifest,
    CacheWriter,
    InteractionCache,
    image_keys,
    make_records,
    shard_name,
)


def write_cache(folder: str, student: Student, data: dict) -> None:
    """Cache the teacher's outputs for a batch, and add to each sample what a data worker would read.

    Args:
        folder: folder of the cache.
        student: student with an online teacher.
        data: preprocessed batch with `inputs` (B, 3, H, W) and `data_samples`. `img_path` names a sample's
            image; `interaction_maps` is set.
    """
    samples, teacher = data['data_samples'], student.online_teacher
    batch, kind = student.batch_of(data['inputs'], samples), cache_kind(student.teacher_outputs)
    compute = maps_to_cache if kind is CachedTeacher else features_to_cache
    maps = compute(teacher, batch)
    identity = kind.identity(
        {key: value for key, value in student.require_teacher_cfg().items() if key != 'cache'}
    )
    keys = image_keys([sample.img_path for sample in samples], 2)
    texts = teacher.text_embeddings.cpu().numpy()
    writer = CacheWriter(Path(folder), CacheManifest.of(identity, len(keys), 2, texts, maps), texts)
    unknown = np.zeros((len(keys), 1), np.uint32)
    writer.write(shard_name(0), keys, make_records(pack(maps)[:, None], unknown))
    writer.finish()
    cache = InteractionCache(folder)
    for sample in samples:
        sample.set_field(cache.stored([sample.img_path]), 'interaction_maps')
