"""Verification of a cache: checksums, and maps of some images against the teacher's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from tqdm import tqdm

from lfi.datasets.tar_shards import read_samples
from lfi.engine.labelled_views import labelled_folder, labelled_paths
from lfi.engine.streams import is_stream
from lfi.models.teachers.cached_teacher import open_cache
from lfi.structures import InteractionMaps, unpack
from lfi.structures.interaction_cache import CacheFolder, CacheManifest, InteractionCache, Sidecar
from lfi.unreadable import Unreadable

from .job import TeacherJob, collate
from .reading import split
from .sidecar_writing import TarJob

# Allows for half precision, and for kernels that differ from those that wrote the cache.
PRESENCE_TOLERANCE = 0.01


def verify(cfg: Config, folder: str | Path, batch_size: int, num_workers: int, num_images: int) -> bool:
    """Check all shards against their checksums, and compare maps of some images with the teacher's.

    Args:
        cfg: config of the training.
        folder: folder of the cache; for tar shards also its address in a store.
        batch_size: images in a batch.
        num_workers: processes that load images, if they are no tar shards.
        num_images: number of images to compare.

    Returns:
        Whether the maps agree.

    Raises:
        CacheError: if the cache is of another teacher, or is missing or corrupted.
    """
    manifest = CacheManifest.read(folder)
    if is_stream(cfg):
        differences = [_verify_sidecars(TarJob(cfg, manifest.views), folder, num_images)]
    else:
        folder = Path(folder)
        differences = [_verify_images(cfg, folder, None, batch_size, num_workers, num_images)]
        labelled = labelled_paths(cfg) if manifest.has_drawn_views else set()
        inner = labelled_folder(folder, labelled, manifest.name_parts)
        if labelled and inner.is_dir():
            differences.append(_verify_images(cfg, inner, labelled, batch_size, num_workers, num_images))
    for difference in differences:
        print(difference)
    return all(difference.passed for difference in differences)


def _verify_images(
    cfg: Config, folder: Path, only: set[str] | None, batch_size: int, num_workers: int, num_images: int
) -> MapDifference:
    """Verify all shards of a cache of images in folders, and views of some images, chosen from `only`."""
    manifest = CacheManifest.read(folder)
    job = TeacherJob(cfg, manifest.views, manifest.name_parts, only)
    cache = open_cache(str(folder), job.identity)
    assert isinstance(cache, InteractionCache)
    for shard in tqdm(range(cache.manifest.num_shards), unit=' shards'):
        cache.verify_shard(cache.shard(shard))
    difference = MapDifference(cache, cache.manifest.num_shards, job.device)
    num_items = len(job.paths) * job.views
    chosen = np.random.default_rng(0).choice(num_items, min(num_images, num_items), replace=False)
    batches = split(chosen.tolist(), batch_size)
    for items, batch in zip(tqdm(batches, unit=' batches'), job.batches(batches, num_workers)):
        if not batch.positions:
            continue
        places = [divmod(items[position], job.views) for position in batch.positions]
        records = cache.read([job.paths[row] for row, _ in places], [view for _, view in places])
        difference.add(job.compute_maps(batch.data), records)
    return difference


def _verify_sidecars(job: TarJob, folder: str | Path, num_images: int) -> MapDifference:
    """Verify all sidecars, with the first images of each tar file and one view of each."""
    cache = open_cache(str(folder), job.identity)
    difference = MapDifference(cache, len(job.tars), job.device)
    for tar in tqdm(job.tars, unit=' shards'):
        sidecar = Sidecar(cache, tar)
        cache.verify_shard(sidecar.shard)
        number = 0
        for number, sample in enumerate(read_samples(tar), 1):
            image = sidecar.image(number - 1, sample.path, sample.image)
            if number > -(-num_images // len(job.tars)):
                continue
            view = number % job.views
            item = job.load(sample, view)
            if not isinstance(item, Unreadable):
                stored = image.stored([sample.path], views=[view])
                difference.add(job.compute_maps(collate([item]).data), stored.record)
        sidecar.check_complete(number)
    return difference


class MapDifference:
    """Greatest difference of cached maps from the teacher's. It prints as a sentence.

    Args:
        cache: cache of the maps.
        num_shards: number of shards whose checksums were compared.
        device: device of the teacher's maps.
    """

    def __init__(self, cache: CacheFolder, num_shards: int, device: torch.device) -> None:
        self.cache, self.num_shards, self.device = cache, num_shards, device
        self.num_compared, self.logits, self.presence = 0, 0.0, 0.0

    def add(self, maps: InteractionMaps, records: np.ndarray) -> None:
        """Compare the teacher's maps of a batch with the cached records (B,) of the same images."""
        cached = unpack(records, maps.layers, maps.directions, self.device)
        step = torch.from_numpy(records['step'].copy()).to(self.device)[..., None, None]
        # Unit: quantisation steps. Rounding alone causes up to half a step.
        error = (cached.logits - maps.logits).abs() / step.clamp_min(1e-6)
        if cached.concepts is not None and maps.concepts is not None:
            is_different = cached.concepts.ne(maps.concepts)[:, None, :, None, None]
            error = error.masked_fill(is_different, math.inf)
        self.num_compared += len(records)
        self.logits = max(self.logits, error.nan_to_num(math.inf, posinf=math.inf).max().item())
        presence_error = (cached.presence - maps.presence).abs().nan_to_num(math.inf)
        self.presence = max(self.presence, presence_error.max().item())

    @property
    def passed(self) -> bool:
        """Whether images were compared, and the maps agree."""
        return self.num_compared > 0 and self.logits <= 1 and self.presence <= PRESENCE_TOLERANCE

    def __str__(self) -> str:
        compared = f'{self.num_compared} {"images" if self.cache.manifest.views == 1 else "views"}'
        return (
            f'{self.num_shards} shards match their checksums. {compared} were compared with the teacher: '
            f'logits differ by at most {self.logits:.2f} quantisation steps, presence by '
            f'{self.presence:.3f}: {"passed" if self.passed else "NOT the same maps"}'
        )
