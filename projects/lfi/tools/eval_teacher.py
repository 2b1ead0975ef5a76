"""How well a teacher's maps and presence can be read, by each of its extractors."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import matplotlib

matplotlib.use('Agg')
import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model.utils import stack_batch
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lfi.datasets import regions_of, unaugmented
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.evaluation import MEASURES, centre_map, localization, presence_quality
from lfi.models.teachers import (
    PixelFormat,
    VLMAttentionTeacher,
    extractors,  # noqa: F401
)
from lfi.models.teachers.chosen_extractor import AUTO, chosen_extractor
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import EXTRACTORS, TEACHERS
from lfi.structures import InteractionMaps, TeacherReading
from lfi.visualization import draw_teachers

COLUMNS = (
    'map',
    'zero-shot top-1',
    'mean confidence',
    'pointing game',
    'energy',
    'average precision',
    'images/s',
    'peak MB',
)
PRESENCE_TITLE = (
    'Presence of every concept in every annotated image; precision, recall and average precision in %. '
    '"label or ..." is presence as labels raise it in training'
)
PRESENCE_COLUMNS = ('presence', 'precision at 0.5', 'recall at 0.5', 'average precision', 'Brier score')


class Choice(TypedDict):
    """An option's value, the second best, and by how much it is ahead of that: mean and standard error."""

    choice: str
    second: str | None
    ahead: list[float] | None


@dataclass(frozen=True)
class Shown:
    """What is known of an image.

    Args:
        pixels: (3, H, W) uint8, BGR.
        regions: (H, W) bool, where each class that is annotated can be seen.
        label: the class of the complete image; None where the data set labels objects alone.
    """

    pixels: Tensor
    regions: dict[int, Tensor]
    label: int | None

    def of_area(self, area: tuple[float, float]) -> dict[int, Tensor]:
        """The regions that cover as much of the image as is asked for."""
        low, high = area
        return {c: mask for c, mask in self.regions.items() if low <= mask.float().mean() <= high}


class Images(Dataset):
    """Images as they are on disk, and their regions by class."""

    def __init__(self, cfg: Config, count: int | None) -> None:
        self.data: Dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
        n = len(self.data)
        self.indices = np.linspace(0, n - 1, min(count or n, n)).round().astype(int)
        # A loader's worker would tell it with its whole traceback.
        regions_of(self.data[0])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Shown:
        results = self.data[int(self.indices[index])]
        pixels = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)
        label = results.get('gt_label')
        return Shown(pixels, regions_of(results), None if label is None else int(label))

    def batches(self, size: int, num_workers: int) -> Iterator[list[Shown]]:
        """The images in their order, `size` at a time."""
        yield from DataLoader(self, batch_size=size, num_workers=num_workers, collate_fn=list)


class Tally:
    """Means of a map's measures over regions."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {measure: [] for measure in MEASURES}

    def add(self, maps: Tensor, masks: Tensor) -> None:
        """Add maps (N, H, W) and the masks (N, H, W) that they should point into."""
        for measure, values in localization(maps, masks).items():
            self.values[measure] += values.tolist()

    def summary(self) -> dict[str, list[float]]:
        """Mean and standard error of each measure."""
        return {
            measure: [float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)]
            for measure, values in self.values.items()
        }


class PresenceTally:
    """Presence of each concept of the bank in each annotated image, by each way to tell it.

    A concept whose regions are all of another area than is asked for is left out of its image.
    """

    def __init__(self, concepts: int, area: tuple[float, float]) -> None:
        self.concepts, self.area = concepts, area
        self.visible: list[Tensor] = []
        self.counted: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.presence: dict[str, list[Tensor]] = {}

    def add(self, image: Shown, presence: dict[str, Tensor]) -> None:
        """Add an image, and its presence (C,) by each way."""
        if not image.regions:
            return
        kept = image.of_area(self.area)
        self.visible.append(self._mark(kept))
        self.counted.append(~self._mark(image.regions.keys() - kept.keys()))
        self.labels.append(self._mark([] if image.label is None else [image.label]))
        for way, values in presence.items():
            self.presence.setdefault(way, []).append(values)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """The quality of each way alone, of the label alone, and of each way with the label."""
        visible, counted, labels = (torch.stack(x) for x in (self.visible, self.counted, self.labels))
        ways = {way: torch.stack(values) for way, values in self.presence.items()}
        if labels.any():
            raised = {
                f'label or {way}': torch.maximum(values, labels.float()) for way, values in ways.items()
            }
            ways = {**ways, 'label': labels.float(), **raised}
        ways['chance: how often'] = visible.float().mean(0).expand(visible.shape)
        return {way: presence_quality(values[counted], visible[counted]) for way, values in ways.items()}

    def errors(self, way: str) -> np.ndarray:
        """The Brier score of each image."""
        counted, visible = torch.stack(self.counted), torch.stack(self.visible)
        squares = (torch.stack(self.presence[way]) - visible.float()).square() * counted
        return (squares.sum(1) / counted.sum(1).clamp_min(1)).numpy()

    def _mark(self, concepts: Iterable[int]) -> Tensor:
        marks = torch.zeros(self.concepts, dtype=torch.bool)
        marks[list(concepts)] = True
        return marks


def ask(teacher: VLMAttentionTeacher, images: list[Tensor], device: torch.device) -> InteractionMaps:
    """The teacher's maps of images (3, H, W), which are padded to one size."""
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    inputs = stack_batch(images).float().to(device)
    # Images are loaded as BGR, from 0 to 255.
    maps = teacher(inputs, PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=False), valid_sizes=sizes)
    return maps.to('cpu')


def in_bank_order(maps: InteractionMaps) -> InteractionMaps:
    """Maps of all concepts, in the order of the bank; the background's stands last."""
    if maps.concepts is None:
        return maps
    order = maps.concepts[:, :-1].argsort(1)
    return maps.gather(F.pad(order, (0, 1), value=order.shape[1]))


def readings(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' maps (B, L, M, H, W), by each reading over locations that the teacher has."""
    found = {'scores': maps.logits}
    if 'concepts' in maps.directions:
        found['share'] = maps.over_concepts().exp()
    return found


def presences(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' presence (B, M), by each way in which the teacher tells it."""
    ways = ('image', 'best-location') if 'concepts' in maps.directions else ('image',)
    return {way: TeacherReading('scores', way)(maps).presence for way in ways}


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


def recommend(tallies: dict[str, dict[str, Tally]], told: PresenceTally) -> dict[str, Choice]:
    """The reading that points best, mean over layers, and the presence of the lowest Brier score."""
    pointing = {
        reading: np.mean([tally.values['pointing'] for tally in layers.values()], 0)
        for reading, layers in tallies.items()
    }
    # The higher is chosen.
    errors = {way: -told.errors(way) for way in told.presence}
    return {'positions_reading': choose(pointing), 'presence': choose(errors)}


def choose(values: dict[str, np.ndarray]) -> Choice:
    """The first by its mean, and by how much it is before the second: mean and standard error, in pairs."""
    order = sorted(values, key=lambda name: -values[name].mean())
    if len(order) == 1:
        return Choice(choice=order[0], second=None, ahead=None)
    ahead = values[order[0]] - values[order[1]]
    error = float(np.std(ahead, ddof=1) / len(ahead) ** 0.5)
    return Choice(choice=order[0], second=order[1], ahead=[float(ahead.mean()), error])


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


def row(name: str, scores: dict, found: dict | None = None) -> str:
    """A row of the maps' table, without the cells of an extractor where `found` is None."""
    measures = ' | '.join(f'{100 * mean:.1f} ± {100 * error:.1f}' for mean, error in scores.values())
    if found is None:
        return f'| {name} | | | {measures} | | |'
    speed, memory = (
        '' if found[key] is None else f'{found[key]:{form}}'
        for key, form in (('images_per_second', '.1f'), ('megabytes', '.0f'))
    )
    return f'| {name} | {found["top1"]:.1%} | {found["confidence"]:.1%} | {measures} | {speed} | {memory} |'


def table(results: dict) -> str:
    """The table of maps, in Markdown."""
    lines = [f'| {" | ".join(COLUMNS)} |', '| --- ' * len(COLUMNS) + '|']
    for extractor, found in results['extractors'].items():
        lines += [row(f'{extractor}, {name}', scores, found) for name, scores in found['maps'].items()]
    lines += [row(name, scores) for name, scores in results['chance'].items()]
    return '\n'.join(lines)


def presence_table(results: dict) -> str:
    """The table of presence, in Markdown."""
    lines = [f'| {" | ".join(PRESENCE_COLUMNS)} |', '| --- ' * len(PRESENCE_COLUMNS) + '|']
    for extractor, found in results['extractors'].items():
        for way, quality in found['presence'].items():
            *rates, brier = quality.values()
            cells = ' | '.join('none found' if rate is None else f'{100 * rate:.1f}' for rate in rates)
            told = f'image: {found["own_presence"]}' if way == 'image' else way
            lines.append(f'| {extractor}, {told} | {cells} | {brier:.4f} |')
    return '\n'.join(lines)


def recommendation(extractor: str, recommended: dict[str, Choice]) -> str:
    """What to write into the config, and why."""
    options, reasons = [], []
    units = {'positions_reading': (100, 'points of the pointing game'), 'presence': (1, 'of the Brier score')}
    for option, (scale, unit) in units.items():
        found = recommended[option]
        options.append(f'{option}={found["choice"]!r}')
        if found['ahead'] is None:
            reasons.append(f'{found["choice"]!r} is all that these maps have')
            continue
        mean, error = (scale * value for value in found['ahead'])
        beyond = '' if mean > 2 * error else ' (not significantly different)'
        reasons.append(
            f'{found["choice"]!r} is ahead of {found["second"]!r} by {mean:.3g} ± {error:.2g} {unit}{beyond}'
        )
    return f'Recommended for {extractor}: model.reading=dict({", ".join(options)}): {"; ".join(reasons)}.'


# A folder or weights that are missing, a name that is unknown, weights that cannot be fetched, an extra.
MISTAKES = (FileNotFoundError, ValueError, RuntimeError, ImportError)


def asked_for(cfg: Config) -> dict:
    """The config of the extractor that the config asks for."""
    teacher = cfg.model.teacher
    try:
        return chosen_extractor(teacher.get('extractor', AUTO), teacher.get('model'))
    except MISTAKES as error:
        raise UsageError(f'model.teacher: {error}') from error


def teachers_of(cfg: Config, names: list[str]) -> Iterator[tuple[str, VLMAttentionTeacher]]:
    """The config's teacher with each of the extractors."""
    own = dict(asked_for(cfg))
    wanted = sorted(EXTRACTORS.module_dict) if names == ['all'] else names or [own['type']]
    for name in wanted:
        extractor = own if name == own['type'] else dict(type=name)
        # All concepts' maps are wanted, not the most probable ones alone.
        teacher = dict(cfg.model.teacher, extractor=extractor, max_concepts=None)
        try:
            yield name, TEACHERS.build(teacher)
        except MISTAKES as error:
            if names != ['all'] or not isinstance(error, ValueError):
                raise UsageError(f'model.teacher: {error}') from error
            print(f'{name} is left out: {error}', flush=True)


def write_picture(path: Path, images: Images, teachers: dict[str, Tensor], names: Sequence[str]) -> None:
    """Each image with its largest region, and where each teacher sees that class."""
    chosen = [images[int(i)] for i in picked(images, len(next(iter(teachers.values()))))]
    rows = []
    for b, image in enumerate(chosen):
        regions = image.regions
        concept = max(regions, key=lambda c: int(regions[c].sum())) if regions else 0
        pixels = image.pixels
        mask = regions.get(concept, torch.zeros(pixels.shape[1:], dtype=torch.bool))
        heats = {name: maps[b, -1, concept] for name, maps in teachers.items()}
        rows.append((pixels.flip(0).permute(1, 2, 0).numpy(), mask.numpy(), names[concept], heats))
    draw_teachers(rows).savefig(path, dpi=110)


def picked(images: Images, count: int) -> np.ndarray:
    """The indices of `count` images, drawn by a fixed seed."""
    return np.random.default_rng(0).permutation(len(images))[:count]


def main(args: Namespace) -> None:
    """Run the tool."""
    cfg = load_config(args.config, args.cfg_options)
    if 'teacher' not in cfg.get('model', {}):
        raise UsageError('the config has no model.teacher to ask')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    device = torch.device(get_device())
    images = Images(cfg, args.images)
    results = {'config': args.config, 'images': len(images), 'device': device_name(device), 'extractors': {}}
    results['chance'], results['regions'] = chance(images, args)
    shown = picked(images, args.pictures)
    classes = len(TextTower(cfg.model.teacher).classes)
    pictures = {}
    for name, teacher in teachers_of(cfg, args.extractors):
        print(name, flush=True)
        results['extractors'][name] = evaluate(teacher, classes, images, args, device)
        if args.out and len(shown):
            pixels = [images[int(i)].pixels for i in shown]
            maps = in_bank_order(ask(teacher, pixels, device))
            recommended = results['extractors'][name]['recommended']
            pictures[name] = readings(maps)[recommended['positions_reading']['choice']]
        concepts = teacher.bank.names
    if not results['extractors']:
        raise UsageError('no extractor fits the model')
    title = (
        f'{len(images)} images, {results["regions"]} regions that cover {args.area[0]:g} to {args.area[1]:g} '
        f'of their image, {results["device"]}, batch {args.batch_size}; mean ± standard error over regions, '
        'in %\n'
    )
    report = '\n\n'.join(
        (
            f'{title}\n{table(results)}',
            f'{PRESENCE_TITLE}\n\n{presence_table(results)}',
            *(
                f'Zero-shot top-1 of {name}, among the {classes} classes alone, against the labels: '
                f'{found["label_top1"]:.1%}.'
                for name, found in results['extractors'].items()
                if found['label_top1'] is not None
            ),
            *(recommendation(name, found['recommended']) for name, found in results['extractors'].items()),
        )
    )
    print(f'\n{report}')
    if args.out:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
        (out / 'table.md').write_text(f'{report}\n')
        if pictures:
            write_picture(out / 'maps.png', images, pictures, concepts)
        print(f'\nWritten to {out}')


def device_name(device: torch.device) -> str:
    """What a device is, for a report."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'CPU, {torch.get_num_threads()} threads'
