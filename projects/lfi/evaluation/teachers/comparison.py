"""How well a teacher's maps and presence can be read, by each of its extractors."""

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
from lfi.models.teachers.families import AUTO, chosen_extractor
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import EXTRACTORS, TEACHERS
from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.folders import make_folder
from lfi.utils.matplotlib_settings import save_figure
from lfi.visualization import draw_teachers

from .images import Images, picked
from .measuring import ask, chance, evaluate, in_bank_order, readings
from .tables import report_of

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
    """Each image with its largest region, and where each teacher sees that class, or the label's."""
    chosen = [images[int(i)] for i in picked(images, len(next(iter(teachers.values()))))]
    rows = []
    for b, image in enumerate(chosen):
        regions = image.regions
        concept = max(regions, key=lambda c: int(regions[c].sum())) if regions else image.label or 0
        pixels = image.pixels
        mask = regions.get(concept, torch.zeros(pixels.shape[1:], dtype=torch.bool))
        heats = {name: maps[b, -1, concept] for name, maps in teachers.items()}
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
    num_pictures: int,
    out: str | None,
) -> None:
    """Print how well the maps of a config's teacher can be read, by one extractor or several.

    Args:
        cfg: has the teacher and the validation set.
        names: of the extractors; none for the config's own, `all` for those that fit.
        title: of the results: how the user calls the config.
        num_images: how many, evenly spaced; all where it is None.
        batch_size: images at once.
        num_workers: processes that load images.
        area: the least and the largest share of its image that a region covers.
        num_pictures: images in the picture.
        out: folder for results.json, table.md and maps.png; None writes nothing.

    Raises:
        UsageError: if there is no teacher, or no extractor fits it.
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
    if images.located:
        results['chance'], results['regions'] = chance(images, area)
    shown = picked(images, num_pictures)
    classes = len(TextTower(cfg.model.teacher).classes)
    pictures = {}
    for name, teacher in teachers_of(cfg, names):
        print(name, flush=True)
        results['extractors'][name] = evaluate(teacher, classes, images, area, device)
        if folder is not None and len(shown):
            pixels = [images[int(i)].pixels for i in shown]
            maps = in_bank_order(ask(teacher, pixels, device))
            recommended = results['extractors'][name].get('recommended')
            reading = recommended['spatial_reading']['choice'] if recommended else 'logits'
            pictures[name] = readings(maps)[reading]
        concepts = teacher.bank.names
    if not results['extractors']:
        raise UsageError('no extractor fits the model')
    report = report_of(results, classes)
    print(f'\n{report}')
    if folder is not None:
        AtomicLocalBackend().put_text(json.dumps(results, indent=1) + '\n', folder / 'results.json')
        AtomicLocalBackend().put_text(f'{report}\n', folder / 'table.md')
        if pictures:
            write_picture(folder / 'maps.png', images, pictures, concepts)
        print(f'\nWritten to {folder}')


def device_name(device: torch.device) -> str:
    """What a device is, for a report."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'CPU, {torch.get_num_threads()} threads'
