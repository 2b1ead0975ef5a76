"""Comparison of a teacher's extractors by the quality of maps and presence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import Tensor

from lfi.errors import UsageError
from lfi.models.teachers import (
    VLMAttentionTeacher,
    extractors,  # noqa: F401
)
from lfi.models.teachers.families import AUTO, resolve_extractor
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import EXTRACTORS, TEACHERS
from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.folders import make_folder
from lfi.utils.matplotlib_settings import save_figure
from lfi.visualization import draw_teachers

from .images import Images, sample_indices
from .measuring import ask, chance_levels, evaluate, maps_by_reading, sort_by_bank
from .tables import format_report

# Missing folder or weights, unknown name, failed download, missing optional dependency.
BUILD_ERRORS = (FileNotFoundError, ValueError, RuntimeError, ImportError)


def extractor_config(cfg: Config) -> dict:
    """Return the config of the extractor that `model.teacher` selects."""
    teacher = cfg.model.teacher
    try:
        return resolve_extractor(teacher.get('extractor', AUTO), teacher.get('model'))
    except BUILD_ERRORS as error:
        raise UsageError(f'model.teacher: {error}') from error


def build_teachers(cfg: Config, names: list[str]) -> Iterator[tuple[str, VLMAttentionTeacher]]:
    """Build the teacher of the config with each of the named extractors."""
    default = dict(extractor_config(cfg))
    types = sorted(EXTRACTORS.module_dict) if names == ['all'] else names or [default['type']]
    for name in types:
        extractor = default if name == default['type'] else dict(type=name)
        # Measure the maps of all concepts, not only of the most probable ones.
        teacher = dict(cfg.model.teacher, extractor=extractor, max_concepts=None)
        try:
            yield name, TEACHERS.build(teacher)
        except BUILD_ERRORS as error:
            if names != ['all'] or not isinstance(error, ValueError):
                raise UsageError(f'model.teacher: {error}') from error
            print(f'{name} is left out: {error}', flush=True)


def write_picture(
    path: Path, images: Images, maps_by_extractor: dict[str, Tensor], names: Sequence[str]
) -> None:
    """Draw images, each with its largest region and each extractor's map of the region's class.

    If an image has no region, the map of its label is drawn.
    """
    samples = [images[int(i)] for i in sample_indices(images, len(next(iter(maps_by_extractor.values()))))]
    rows = []
    for b, image in enumerate(samples):
        regions = image.regions
        concept = max(regions, key=lambda c: int(regions[c].sum())) if regions else image.label or 0
        pixels = image.pixels
        mask = regions.get(concept, torch.zeros(pixels.shape[1:], dtype=torch.bool))
        heats = {name: maps[b, -1, concept] for name, maps in maps_by_extractor.items()}
        rows.append((pixels.flip(0).permute(1, 2, 0).numpy(), mask.numpy(), names[concept], heats))
    save_figure(draw_teachers(rows), path, dpi=110)


def compare_extractors(
    cfg: Config,
    names: list[str],
    *,
    title: str,
    num_images: int | None,
    batch_size: int,
    num_workers: int,
    area: tuple[float, float],
    num_shown: int,
    out: str | None,
) -> dict[str, Any]:
    """Print the quality of a teacher's maps and presence with one or more extractors.

    Args:
        cfg: config with `model.teacher` and the validation set.
        names: names of the extractors. Empty: the extractor of the config; ['all']: all that fit.
        title: name of the config in the results.
        num_images: number of images, evenly spaced; None for all.
        batch_size: number of images in a batch.
        num_workers: number of processes that load images.
        area: smallest and largest share of the image that a measured region covers.
        num_shown: number of images that maps.png shows.
        out: folder for results.json, table.md and maps.png; None writes no files.

    Returns:
        The content of results.json; `extractors` has the measures by the name of the extractor.

    Raises:
        UsageError: if the config has no teacher, or no extractor fits the teacher.
    """
    matplotlib.use('Agg')
    if 'teacher' not in cfg.get('model', {}):
        raise UsageError('the config has no model.teacher to ask')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    folder = make_folder(out, '--out') if out else None
    device = torch.device(get_device())
    images = Images(cfg, num_images, batch_size, num_workers)
    results: dict[str, Any] = {
        'config': title,
        'images': len(images),
        'batch_size': batch_size,
        'area': area,
        'device': device_name(device),
        'extractors': {},
    }
    if images.has_regions:
        results['chance'], results['regions'] = chance_levels(images, area)
    indices = sample_indices(images, num_shown)
    num_classes = len(TextTower(cfg.model.teacher).classes)
    maps_by_extractor = {}
    for name, teacher in build_teachers(cfg, names):
        print(name, flush=True)
        results['extractors'][name] = evaluate(teacher, num_classes, images, area, device)
        if folder is not None and len(indices):
            pixels = [images[int(i)].pixels for i in indices]
            maps = sort_by_bank(ask(teacher, pixels, device))
            recommended = results['extractors'][name].get('recommended')
            reading = recommended['spatial_reading']['choice'] if recommended else 'logits'
            maps_by_extractor[name] = maps_by_reading(maps)[reading]
        concepts = teacher.bank.names
    if not results['extractors']:
        raise UsageError('no extractor fits the model')
    report = format_report(results, num_classes)
    print(f'\n{report}')
    if folder is not None:
        AtomicLocalBackend().put_text(json.dumps(results, indent=1) + '\n', folder / 'results.json')
        AtomicLocalBackend().put_text(f'{report}\n', folder / 'table.md')
        if maps_by_extractor:
            write_picture(folder / 'maps.png', images, maps_by_extractor, concepts)
        print(f'\nWritten to {folder}')
    return results


def device_name(device: torch.device) -> str:
    """Return the name of a device for a report."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    if device.type == 'mps':
        return 'MPS'
    return f'CPU, {torch.get_num_threads()} threads'
