"""Cache of the teacher's outputs for one batch, in the format of lfi cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lfi.datasets.labelled_images import label_digest
from lfi.engine.cache_labels import KNOWN
from lfi.models import Student
from lfi.models.teachers import CachedTeacher, cache_kind, features_to_cache
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
    maps = teacher.ask(batch) if kind is CachedTeacher else features_to_cache(teacher, batch)
    identity = kind.identity(
        {key: value for key, value in student.require_teacher_cfg().items() if key != 'cache'}
    )
    keys = image_keys([sample.img_path for sample in samples], 2)
    texts = teacher.text_embeddings.cpu().numpy()
    writer = CacheWriter(
        Path(folder), CacheManifest.of(identity, len(keys), 2, texts, maps, labels=KNOWN), texts
    )
    # No caption chose a concept.
    choice = np.array([(_label_digest(sample), 0) for sample in samples], np.uint32)
    unknown = np.zeros(len(keys), np.uint32)
    writer.write(shard_name(0), keys, make_records(pack(maps)[:, None], unknown, choice))
    writer.finish()
    cache = InteractionCache(folder)
    for sample in samples:
        sample.set_field(cache.stored([sample.img_path]), 'interaction_maps')


def _label_digest(sample: Any) -> int:
    """Return the checksum of a sample's labels: `label_digest` of a view that may lack some, or computed."""
    if 'label_digest' in sample:
        return int(sample.label_digest)
    if 'gt_label' in sample:
        return label_digest({'gt_label': sample.gt_label.cpu().numpy()})
    objects = [sample.get(name) for name in ('gt_instances', 'ignored_instances')]
    labels = [
        label
        for group in objects
        if group is not None and 'labels' in group
        for label in group.labels.tolist()
    ]
    return label_digest({'instances': [{'bbox_label': label} for label in labels]})
