"""Measuring a teacher, and chance, on images: quality in each way that it can be read, time and memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from mmengine.model.utils import stack_batch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lfi.errors import UsageError
from lfi.evaluation import MEASURES, centre_map
from lfi.models.teachers import VLMAttentionTeacher
from lfi.structures import InteractionMaps, PixelFormat, TeacherReading

from .images import Images
from .tables import recommend
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


def ask(teacher: VLMAttentionTeacher, images: list[Tensor], device: torch.device) -> InteractionMaps:
    """The teacher's maps of images (3, H, W), which are padded to one size."""
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    inputs = stack_batch(images).float().to(device)
    maps = teacher(inputs, PixelFormat.raw(), valid_sizes=sizes)
    return maps.to('cpu')


def in_bank_order(maps: InteractionMaps) -> InteractionMaps:
    """Maps of all concepts, in the order of the bank; the background's stands last."""
    if maps.concepts is None:
        return maps
    order = maps.concepts[:, :-1].argsort(1)
    return maps.gather(F.pad(order, (0, 1), value=order.shape[1]))


def readings(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' maps (B, L, M, H, W), by each reading over locations that the teacher has."""
    found = {'logits': maps.logits}
    if 'semantic' in maps.directions:
        found['concept_softmax'] = maps.semantic_log_probs().exp()
    return found


def presences(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' presence (B, M), by each way in which the teacher tells it."""
    ways = ('image', 'best-location') if 'semantic' in maps.directions else ('image',)
    return {way: TeacherReading('logits', way)(maps).presence for way in ways}


class PeakMemory:
    """The most memory that was taken since it was made: the GPU's, or the process's where Linux counts it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counted = True
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path('/proc/self/clear_refs').write_text('5')
        except OSError:
            # Not Linux, or a container whose /proc cannot be written.
            self.counted = False

    def peak(self) -> float | None:
        """In MB; None where it is not counted."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        if not self.counted:
            return None
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith('VmHWM'))
