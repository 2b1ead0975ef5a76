"""How well a teacher's maps and presence can be read, by each of its extractors."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import Tensor

from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.evaluation.teachers.images import Images, picked
from lfi.evaluation.teachers.measuring import ask, chance, evaluate, in_bank_order, readings
from lfi.evaluation.teachers.tables import report_of
from lfi.fileio import AtomicLocalBackend
from lfi.folders import make_folder
from lfi.matplotlib_settings import save_figure
from lfi.models.teachers import (
    VLMAttentionTeacher,
    extractors,  # noqa: F401
)
from lfi.models.teachers.families import AUTO, chosen_extractor
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import EXTRACTORS, TEACHERS
from lfi.visualization import draw_teachers

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


def main(args: Namespace) -> None:
    """Run the tool."""
    matplotlib.use('Agg')
    cfg = load_config(args.config, args.cfg_options)
    if 'teacher' not in cfg.get('model', {}):
        raise UsageError('the config has no model.teacher to ask')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    out = make_folder(args.out, '--out') if args.out else None
    device = torch.device(get_device())
    images = Images(cfg, args.images, args.batch_size, args.num_workers)
    results = {
        'config': args.config,
        'images': len(images),
        'batch_size': args.batch_size,
        'area': args.area,
        'device': device_name(device),
        'extractors': {},
    }
    if images.located:
        results['chance'], results['regions'] = chance(images, args.area)
    shown = picked(images, args.pictures)
    classes = len(TextTower(cfg.model.teacher).classes)
    pictures = {}
    for name, teacher in teachers_of(cfg, args.extractors):
        print(name, flush=True)
        results['extractors'][name] = evaluate(teacher, classes, images, args.area, device)
        if out is not None and len(shown):
            pixels = [images[int(i)].pixels for i in shown]
            maps = in_bank_order(ask(teacher, pixels, device))
            recommended = results['extractors'][name].get('recommended')
            reading = recommended['positions_reading']['choice'] if recommended else 'scores'
            pictures[name] = readings(maps)[reading]
        concepts = teacher.bank.names
    if not results['extractors']:
        raise UsageError('no extractor fits the model')
    report = report_of(results, classes)
    print(f'\n{report}')
    if out is not None:
        AtomicLocalBackend().put_text(json.dumps(results, indent=1) + '\n', out / 'results.json')
        AtomicLocalBackend().put_text(f'{report}\n', out / 'table.md')
        if pictures:
            write_picture(out / 'maps.png', images, pictures, concepts)
        print(f'\nWritten to {out}')


def device_name(device: torch.device) -> str:
    """What a device is, for a report."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'CPU, {torch.get_num_threads()} threads'
