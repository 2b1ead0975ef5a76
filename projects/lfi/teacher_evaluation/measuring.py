"""Measuring a teacher, and chance, on images."""

from __future__ import annotations

import time
from argparse import Namespace

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
from .tallies import PresenceTally, Tally


def evaluate(
    teacher: VLMAttentionTeacher,
    classes: int,
    images: Images,
    args: Namespace,
    device: torch.device,
) -> dict:
    """Measures of each of the extractor's layers, the zero-shot accuracy, speed and memory.

    The first `classes` concepts are those that images are labelled with.
    """
    tallies: dict[str, dict[str, Tally]] = {}
    concepts = teacher.bank.num_concepts
    told = PresenceTally(concepts, args.area)
    hits, named, confidences, seconds, timed = [], [], [], 0.0, 0
    memory = PeakMemory(device)
    batches = images.batches(args.batch_size, args.num_workers)
    for i, batch in enumerate(tqdm(batches, total=-(-len(images) // args.batch_size), unit=' batches')):
        start = time.perf_counter()
        maps = in_bank_order(ask(teacher, [image.pixels for image in batch], device))
        if i:
            # The first batch warms up.
            seconds, timed = seconds + time.perf_counter() - start, timed + len(batch)
        by_reading, by_way = readings(maps), presences(maps)
        best = maps.presence.max(1)
        confidences += best.values.tolist()
        for b, image in enumerate(batch):
            if image.regions:
                hits.append(int(best.indices[b]) in image.regions)
            if image.label is not None:
                named.append(int(maps.presence[b, :classes].argmax()) == image.label)
            told.add(image, {way: presence[b, :concepts] for way, presence in by_way.items()})
            kept = image.of_area(args.area)
            if not kept:
                continue
            masks = torch.stack(list(kept.values()))
            for reading, each in by_reading.items():
                for index, layer in enumerate(maps.layers):
                    name = reading if len(maps.layers) == 1 else f'layer {layer}, {reading}'
                    tally = tallies.setdefault(reading, {}).setdefault(name, Tally())
                    tally.add(each[b, index, list(kept)], masks)
    if not tallies:
        raise UsageError(f'no region of the images covers {args.area[0]:g} to {args.area[1]:g} of its image')
    return {
        'maps': {name: tally.summary() for of in tallies.values() for name, tally in of.items()},
        'presence': told.summary(),
        'own_presence': getattr(teacher, 'own_presence', "the teacher's own"),
        'recommended': recommend(tallies, told),
        'top1': float(np.mean(hits)),
        # None where images have no label.
        'label_top1': float(np.mean(named)) if named else None,
        'confidence': float(np.mean(confidences)),
        'images_per_second': timed / seconds if timed else None,
        'megabytes': memory.peak(),
    }


def chance(images: Images, args: Namespace) -> tuple[dict, int]:
    """The measures of a flat map and of the centre-bias baseline, and how many regions there are."""
    centre, areas = Tally(), []
    for batch in images.batches(args.batch_size, args.num_workers):
        for image in batch:
            for mask in image.of_area(args.area).values():
                areas.append(mask.float().mean().item())
                centre.add(centre_map((mask.shape[0], mask.shape[1]))[None], mask[None])
    if len(areas) < 2:
        raise UsageError(
            f'only {len(areas)} regions cover {args.area[0]:g} to {args.area[1]:g} of their image'
        )
    error = float(np.std(areas, ddof=1) / len(areas) ** 0.5)
    uniform = {measure: [float(np.mean(areas)), error] for measure in MEASURES}
    return {'chance: uniform': uniform, 'chance: centre': centre.summary()}, len(areas)
