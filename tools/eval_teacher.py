"""Measure how well a teacher points, before training with it: a table, JSON and pictures, for each extractor.

python tools/eval_teacher.py configs/classification/lfi_vit-tiny_shapes.py --out work_dirs/teacher
python tools/eval_teacher.py configs/teachers/lit-lite0_coco.py --extractors all --images 100

The teacher is the config's model.teacher, the images are those of its validation set, as they are on disk.
Maps are compared with masks, or else boxes, of each class in each image.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
import numpy as np
import torch
from lfi.datasets import regions_of, unaugmented
from lfi.engine import launch
from lfi.evaluation import MEASURES, centre_map, localization
from lfi.models.teachers import (
    PixelFormat,
    VLMAttentionTeacher,
    extractors,  # noqa: F401
)
from lfi.registry import EXTRACTORS, TEACHERS
from lfi.structures import InteractionMaps
from lfi.visualization import draw_teachers
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model.utils import stack_batch
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    launch.add_config_arguments(parser)
    parser.add_argument(
        '--extractors',
        nargs='+',
        default=[],
        metavar='NAME',
        help=f'of {sorted(EXTRACTORS.module_dict)}, or "all" that fit the model (default: the config\'s)',
    )
    parser.add_argument('--images', type=int, metavar='N', help='only N images, evenly spaced (default: all)')
    parser.add_argument('--batch-size', type=int, default=16, help='images at once (%(default)s)')
    parser.add_argument('--num-workers', type=int, default=1, help='processes that load images (%(default)s)')
    parser.add_argument(
        '--area',
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=('MIN', 'MAX'),
        help='only regions of this share of their image (0 1)',
    )
    parser.add_argument('--pictures', type=int, default=6, help='images in the picture (%(default)s)')
    parser.add_argument('--out', metavar='DIR', help='write results.json, table.md and maps.png')
    return parser.parse_args()


class Images(Dataset):
    """Images as they are on disk, and their regions by class."""

    def __init__(self, cfg: Config, count: int | None) -> None:
        self.data: Dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
        n = len(self.data)
        self.indices = np.linspace(0, n - 1, min(count or n, n)).round().astype(int)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[int, Tensor]]:
        results = self.data[int(self.indices[index])]
        return torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1), regions_of(results)

    def batches(self, size: int, num_workers: int) -> Iterator[list]:
        yield from DataLoader(self, batch_size=size, num_workers=num_workers, collate_fn=list)


class Tally:
    """Means of a map's measures over regions."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {measure: [] for measure in MEASURES}

    def add(self, maps: Tensor, masks: Tensor) -> None:
        for measure, values in localization(maps, masks).items():
            self.values[measure] += values.tolist()

    def summary(self) -> dict[str, list[float]]:
        """Mean and standard error of each measure."""
        return {
            measure: [float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)]
            for measure, values in self.values.items()
        }


def ask(teacher: VLMAttentionTeacher, images: list[Tensor], device: torch.device) -> InteractionMaps:
    sizes = [tuple(image.shape[-2:]) for image in images]
    inputs = stack_batch(images).float().to(device)
    # Images are loaded as BGR, from 0 to 255.
    maps = teacher(inputs, PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=False), valid_sizes=sizes)
    return maps.to('cpu')


def readings(maps: InteractionMaps) -> dict[str, InteractionMaps]:
    """All concepts' maps in the order of the bank, as each direction of LFI sees them."""
    found = {'over locations': maps}
    if 'concepts' in maps.directions:
        found['over concepts'] = replace(maps, logits=maps.over_concepts().exp())
    if maps.concepts is not None:
        # The background stands last.
        order = maps.concepts[:, :-1].argsort(1)
        found = {reading: each.gather(order) for reading, each in found.items()}
    return found


def evaluate(
    teacher: VLMAttentionTeacher, images: Images, args: argparse.Namespace, device: torch.device
) -> dict:
    """Measures of each of the extractor's layers, the zero-shot accuracy, speed and memory."""
    tallies: dict[str, Tally] = {}
    hits, confidences, seconds, timed = [], [], 0.0, 0
    memory = PeakMemory(device)
    batches = images.batches(args.batch_size, args.num_workers)
    for i, batch in enumerate(tqdm(batches, total=-(-len(images) // args.batch_size), unit=' batches')):
        start = time.perf_counter()
        maps = ask(teacher, [image for image, _ in batch], device)
        if i:
            # The first batch warms up.
            seconds, timed = seconds + time.perf_counter() - start, timed + len(batch)
        by_reading = readings(maps)
        best = by_reading['over locations'].presence.max(1)
        confidences += best.values.tolist()
        for b, (_, regions) in enumerate(batch):
            if regions:
                hits.append(int(best.indices[b]) in regions)
            kept = {c: mask for c, mask in regions.items() if of_area(mask, args.area)}
            if not kept:
                continue
            masks = torch.stack(list(kept.values()))
            for reading, each in by_reading.items():
                for index, layer in enumerate(each.layers):
                    name = reading if len(each.layers) == 1 else f'layer {layer}, {reading}'
                    tallies.setdefault(name, Tally()).add(each.logits[b, index, list(kept)], masks)
    if not tallies:
        raise launch.UsageError(
            f'no region of the images covers {args.area[0]:g} to {args.area[1]:g} of its image'
        )
    return {
        'maps': {name: tally.summary() for name, tally in tallies.items()},
        'top1': float(np.mean(hits)),
        'confidence': float(np.mean(confidences)),
        'images_per_second': timed / seconds if timed else None,
        'megabytes': memory.peak(),
    }


def chance(images: Images, args: argparse.Namespace) -> tuple[dict, int]:
    """The measures of a flat map and of the centre-bias baseline, and how many regions there are."""
    centre, areas = Tally(), []
    for batch in images.batches(args.batch_size, args.num_workers):
        for _, regions in batch:
            for mask in regions.values():
                if of_area(mask, args.area):
                    areas.append(mask.float().mean().item())
                    centre.add(centre_map(tuple(mask.shape))[None], mask[None])
    if len(areas) < 2:
        raise launch.UsageError(
            f'only {len(areas)} regions cover {args.area[0]:g} to {args.area[1]:g} of their image'
        )
    error = float(np.std(areas, ddof=1) / len(areas) ** 0.5)
    uniform = {measure: [float(np.mean(areas)), error] for measure in MEASURES}
    return {'chance: uniform': uniform, 'chance: centre': centre.summary()}, len(areas)


def of_area(mask: Tensor, area: tuple[float, float]) -> bool:
    """Whether a region covers as much of its image as is asked for."""
    return area[0] <= mask.float().mean() <= area[1]


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
    measures = ' | '.join(f'{100 * mean:.1f} ± {100 * error:.1f}' for mean, error in scores.values())
    if found is None:
        return f'| {name} | | | {measures} | | |'
    speed, memory = (
        '' if found[key] is None else f'{found[key]:{form}}'
        for key, form in (('images_per_second', '.1f'), ('megabytes', '.0f'))
    )
    return f'| {name} | {found["top1"]:.1%} | {found["confidence"]:.1%} | {measures} | {speed} | {memory} |'


def table(results: dict) -> str:
    lines = [f'| {" | ".join(COLUMNS)} |', '| --- ' * len(COLUMNS) + '|']
    for extractor, found in results['extractors'].items():
        lines += [row(f'{extractor}, {name}', scores, found) for name, scores in found['maps'].items()]
    lines += [row(name, scores) for name, scores in results['chance'].items()]
    return '\n'.join(lines)


def teachers_of(cfg: Config, names: list[str]) -> Iterator[tuple[str, VLMAttentionTeacher]]:
    """The config's teacher with each of the extractors."""
    own = dict(cfg.model.teacher.extractor)
    wanted = sorted(EXTRACTORS.module_dict) if names == ['all'] else names or [own['type']]
    for name in wanted:
        extractor = own if name == own['type'] else dict(type=name)
        # All concepts' maps are wanted, not the most probable ones alone.
        teacher = dict(cfg.model.teacher, extractor=extractor, max_concepts=None)
        try:
            yield name, TEACHERS.build(teacher)
        except ValueError as error:
            if names != ['all']:
                raise launch.UsageError(str(error)) from error
            print(f'{name} is left out: {error}', flush=True)


def write_picture(path: Path, images: Images, teachers: dict[str, InteractionMaps], names: list[str]) -> None:
    """Each image with its largest region, and where each teacher sees that class."""
    chosen = [images[int(i)] for i in picked(images, len(next(iter(teachers.values())).logits))]
    rows = []
    for b, (image, regions) in enumerate(chosen):
        concept = max(regions, key=lambda c: int(regions[c].sum())) if regions else 0
        mask = regions.get(concept, torch.zeros(image.shape[1:], dtype=torch.bool))
        heats = {
            name: readings(maps)['over locations'].logits[b, -1, concept] for name, maps in teachers.items()
        }
        rows.append((image.flip(0).permute(1, 2, 0).numpy(), mask.numpy(), names[concept], heats))
    draw_teachers(rows).savefig(path, dpi=110)


def picked(images: Images, count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(len(images))[:count]


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args.config, args.cfg_options)
    if 'teacher' not in cfg.get('model', {}):
        raise launch.UsageError('the config has no model.teacher to ask')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    device = torch.device(get_device())
    images = Images(cfg, args.images)
    results = {'config': args.config, 'images': len(images), 'device': device_name(device), 'extractors': {}}
    results['chance'], results['regions'] = chance(images, args)
    shown = picked(images, args.pictures)
    pictures = {}
    for name, teacher in teachers_of(cfg, args.extractors):
        print(name, flush=True)
        results['extractors'][name] = evaluate(teacher, images, args, device)
        if args.out and len(shown):
            pictures[name] = ask(teacher, [images[int(i)][0] for i in shown], device)
        concepts = teacher.bank.names
    if not results['extractors']:
        raise launch.UsageError('no extractor fits the model')
    title = (
        f'{len(images)} images, {results["regions"]} regions that cover {args.area[0]:g} to {args.area[1]:g} '
        f'of their image, {results["device"]}, batch {args.batch_size}; mean ± standard error over regions, '
        'in %\n'
    )
    print(f'\n{title}\n{table(results)}')
    if args.out:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
        (out / 'table.md').write_text(f'{title}\n{table(results)}\n')
        if pictures:
            write_picture(out / 'maps.png', images, pictures, concepts)
        print(f'\nWritten to {out}')


def device_name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'CPU, {torch.get_num_threads()} threads'


if __name__ == '__main__':
    launch.run(main)
