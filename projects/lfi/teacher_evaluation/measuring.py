"""Measuring a teacher, and chance, on images."""

from __future__ import annotations

import time

import numpy as np
import torch
from tqdm import tqdm

from lfi.errors import UsageError
from lfi.evaluation import MEASURES, centre_map
from lfi.models.teachers import VLMAttentionTeacher

from .answers import ask, in_bank_order, presences, readings
from .images import Images
from .peak_memory import PeakMemory
from .recommendation import recommend
from .tallies import MapTally, NamingTally, PresenceTally, Tally


def evaluate(
    teacher: VLMAttentionTeacher,
    classes: int,
    images: Images,
    area: tuple[float, float],
    device: torch.device,
) -> dict:
    """Measures of each of the extractor's layers, the zero-shot accuracy, speed and memory.

    Args:
        teacher: with one extractor, whose maps are of all concepts.
        classes: of how many concepts, the first ones, an image's label is one.
        images: that it is asked about.
        area: the least and the largest share of an image that a region covers which is looked for.
        device: on which the teacher runs.

    Returns:
        What `results.json` has of an extractor; of images without regions nothing of maps and presence.

    Raises:
        UsageError: no region covers such a share; or of images without regions none has a label.
    """
    concepts = teacher.bank.num_concepts
    located, told, naming = MapTally(area), PresenceTally(concepts, area), NamingTally(classes)
    memory = PeakMemory(device)
    seconds, timed = 0.0, 0
    for i, batch in enumerate(tqdm(images.batches(), unit=' batches')):
        start = time.perf_counter()
        maps = in_bank_order(ask(teacher, [image.pixels for image in batch], device))
        if i:
            # The first batch warms up.
            seconds, timed = seconds + time.perf_counter() - start, timed + len(batch)
        by_reading, by_way = readings(maps), presences(maps)
        for b, image in enumerate(batch):
            naming.add(image, maps.presence[b])
            told.add(image, {way: presence[b, :concepts] for way, presence in by_way.items()})
            located.add(image, {reading: each[b] for reading, each in by_reading.items()}, maps.layers)
    seen = {}
    if not (images.located or naming.is_label):
        raise UsageError('no image of val_dataloader.dataset has boxes, masks or a label')
    if images.located:
        seen = {
            'maps': located.summary(),
            'presence': told.summary(),
            'own_presence': getattr(teacher, 'own_presence', "the teacher's own"),
            'recommended': recommend(located, told),
        }
    return {
        **seen,
        **naming.summary(),
        'images_per_second': timed / seconds if timed else None,
        'megabytes': memory.peak(),
    }


def chance(images: Images, area: tuple[float, float]) -> tuple[dict, int]:
    """The measures of a flat map and of the centre-bias baseline, and how many regions there are.

    Raises:
        UsageError: fewer than two images show a class, or fewer than two regions are of the area.
    """
    centre, areas, annotated = Tally(), [], 0
    for batch in images.batches():
        for image in batch:
            annotated += bool(image.regions)
            for mask in image.of_area(area).values():
                areas.append(mask.float().mean().item())
                centre.add(centre_map((mask.shape[0], mask.shape[1]))[None], mask[None])
    # The errors of presence are of images, those of maps of regions.
    if annotated < 2:
        raise UsageError(f'only {annotated} of {len(images)} images show a class: give two or more that do')
    if len(areas) < 2:
        raise UsageError(f'only {len(areas)} regions cover {area[0]:g} to {area[1]:g} of their image')
    error = float(np.std(areas, ddof=1) / len(areas) ** 0.5)
    uniform = {measure: [float(np.mean(areas)), error] for measure in MEASURES}
    return {'chance: uniform': uniform, 'chance: centre': centre.summary()}, len(areas)
