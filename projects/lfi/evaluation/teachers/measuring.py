"""Measures of a teacher and of chance: quality of maps and presence, speed and memory."""

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
from .tallies import AccuracyTally, MapTally, PresenceTally, Tally


def evaluate(
    teacher: VLMAttentionTeacher,
    num_classes: int,
    images: Images,
    area: tuple[float, float],
    device: torch.device,
) -> dict:
    """Measure maps by reading and layer, presence, zero-shot accuracy, speed and memory.

    Args:
        teacher: teacher with one extractor and maps of all concepts.
        num_classes: number of classes of the labels, the first concepts of the bank.
        images: images to measure on.
        area: smallest and largest share of the image that a measured region covers.
        device: device of the teacher.

    Returns:
        The entry of the extractor in `results.json`, without maps and presence if images have no regions.

    Raises:
        UsageError: if no region lies within `area`, or images have neither regions nor labels.
    """
    num_concepts = teacher.bank.num_concepts
    map_tally, presence_tally = MapTally(area), PresenceTally(num_concepts, area)
    accuracy_tally = AccuracyTally(num_classes)
    memory = PeakMemory(device)
    seconds, num_timed = 0.0, 0
    for i, batch in enumerate(tqdm(images.batches(), unit=' batches')):
        start = time.perf_counter()
        maps = sort_by_bank(ask(teacher, [image.pixels for image in batch], device))
        if i:
            # The first batch is a warm-up.
            seconds, num_timed = seconds + time.perf_counter() - start, num_timed + len(batch)
        heats, presences = maps_by_reading(maps), presence_by_reading(maps)
        for b, image in enumerate(batch):
            accuracy_tally.add(image, maps.presence[b])
            presence_tally.add(image, {name: values[b, :num_concepts] for name, values in presences.items()})
            map_tally.add(image, {name: heat[b] for name, heat in heats.items()}, maps.layers)
    measures = {}
    if not (images.has_regions or accuracy_tally.is_label):
        raise UsageError('no image of val_dataloader.dataset has boxes, masks or a label')
    if images.has_regions:
        measures = {
            'maps': map_tally.summary(),
            'presence': presence_tally.summary(),
            'presence_kind': getattr(teacher, 'presence_kind', "the teacher's own"),
            'recommended': recommend(map_tally, presence_tally),
        }
    return {
        **measures,
        **accuracy_tally.summary(),
        'images_per_second': num_timed / seconds if num_timed else None,
        'megabytes': memory.peak(),
    }


def chance_levels(images: Images, area: tuple[float, float]) -> tuple[dict, int]:
    """Measures of a flat map and of the centre-bias baseline, and the number of regions.

    Raises:
        UsageError: if fewer than two images show a class, or fewer than two regions lie within `area`.
    """
    centre, areas, num_shown = Tally(), [], 0
    for batch in images.batches():
        for image in batch:
            num_shown += bool(image.regions)
            for mask in image.regions_of_area(area).values():
                areas.append(mask.float().mean().item())
                centre.add(centre_map((mask.shape[0], mask.shape[1]))[None], mask[None])
    # A standard error needs two values: images for presence, regions for maps.
    if num_shown < 2:
        raise UsageError(f'only {num_shown} of {len(images)} images show a class: give two or more that do')
    if len(areas) < 2:
        raise UsageError(f'only {len(areas)} regions cover {area[0]:g} to {area[1]:g} of their image')
    error = float(np.std(areas, ddof=1) / len(areas) ** 0.5)
    uniform = {measure: [float(np.mean(areas)), error] for measure in MEASURES}
    return {'chance: uniform': uniform, 'chance: centre': centre.summary()}, len(areas)


def ask(teacher: VLMAttentionTeacher, images: list[Tensor], device: torch.device) -> InteractionMaps:
    """Return the teacher's maps of images (3, H, W), padded to a common size, on the CPU."""
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    inputs = stack_batch(images).float().to(device)
    maps = teacher(inputs, PixelFormat.raw(), valid_sizes=sizes)
    return maps.to('cpu')


def sort_by_bank(maps: InteractionMaps) -> InteractionMaps:
    """Sort maps of all concepts into the order of the bank; the background comes last."""
    if maps.concepts is None:
        return maps
    order = maps.concepts[:, :-1].argsort(1)
    return maps.gather(F.pad(order, (0, 1), value=order.shape[1]))


def maps_by_reading(maps: InteractionMaps) -> dict[str, Tensor]:
    """Maps (B, L, M, H, W) in each spatial reading that the teacher supports."""
    heats = {'logits': maps.logits}
    if 'semantic' in maps.directions:
        heats['concept_softmax'] = maps.semantic_log_probs().exp()
    return heats


def presence_by_reading(maps: InteractionMaps) -> dict[str, Tensor]:
    """Presence (B, M) in each presence reading that the teacher supports."""
    names = ('image', 'best-location') if 'semantic' in maps.directions else ('image',)
    return {name: TeacherReading('logits', name)(maps).presence for name in names}


class PeakMemory:
    """Peak memory since construction, of the GPU, or of the process on Linux."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_counted = True
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path('/proc/self/clear_refs').write_text('5')
        except OSError:
            # Not Linux, or /proc is read-only, as in some containers.
            self.is_counted = False

    def peak(self) -> float | None:
        """Return the peak in MB, or None if it cannot be measured."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        if not self.is_counted:
            return None
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith('VmHWM'))
