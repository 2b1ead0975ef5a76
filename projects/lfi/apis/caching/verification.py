"""Verification of a cache: checksums, and maps of some images against the teacher's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from lfi.models.teachers.cached_teacher import open_cache
from lfi.structures import unpack

from .job import TeacherJob
from .reading import split

# Allows for half precision, and for kernels that differ from those that wrote the cache.
PRESENCE_TOLERANCE = 0.01


def verify(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, num_images: int) -> bool:
    """Check all shards against their checksums, and compare maps of some images with the teacher's.

    Returns:
        Whether the maps agree.

    Raises:
        CacheError: if the cache is of another teacher, or is missing or corrupted.
    """
    cache = open_cache(str(folder), job.identity)
    for shard in tqdm(range(cache.manifest.num_shards), unit=' shards'):
        cache.verify(shard)
    num_items = len(job.paths) * job.views
    chosen = np.random.default_rng(0).choice(num_items, min(num_images, num_items), replace=False)
    num_compared, max_error, max_presence_error = 0, 0.0, 0.0
    batches = split(chosen.tolist(), batch_size)
    for items, batch in zip(tqdm(batches, unit=' batches'), job.batches(batches, num_workers)):
        if not batch.positions:
            continue
        num_compared += len(batch.positions)
        maps = job.compute_maps(batch.data)
        places = [divmod(items[position], job.views) for position in batch.positions]
        records = cache.read([job.paths[row] for row, _ in places], [view for _, view in places])
        cached = unpack(records, maps.layers, maps.directions, job.device)
        step = torch.from_numpy(records['step'].copy()).to(job.device)[..., None, None]
        # Unit: quantisation steps. Rounding alone causes up to half a step.
        error = (cached.logits - maps.logits).abs() / step.clamp_min(1e-6)
        if cached.concepts is not None and maps.concepts is not None:
            is_different = cached.concepts.ne(maps.concepts)[:, None, :, None, None]
            error = error.masked_fill(is_different, math.inf)
        max_error = max(max_error, error.nan_to_num(math.inf, posinf=math.inf).max().item())
        presence_error = (cached.presence - maps.presence).abs().nan_to_num(math.inf)
        max_presence_error = max(max_presence_error, presence_error.max().item())
    passed = num_compared > 0 and max_error <= 1 and max_presence_error <= PRESENCE_TOLERANCE
    compared = f'{num_compared} {"images" if job.views == 1 else "views"}'
    print(
        f'{cache.manifest.num_shards} shards match their checksums. {compared} were compared with the '
        f'teacher: logits differ by at most {max_error:.2f} quantisation steps, presence by '
        f'{max_presence_error:.3f}: {"passed" if passed else "NOT the same maps"}'
    )
    return passed
