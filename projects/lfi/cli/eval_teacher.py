"""Measure how well a teacher's maps locate classes, and recommend a reading.

lfi eval-teacher configs/classification/lfi_vit-128x6-p8_shapes.py --out work_dirs/teacher
lfi eval-teacher configs/teachers/lit-lite0_coco.py --extractors all --images 100

Evaluates the config's model.teacher on the unaugmented images of its validation set. Compares maps with masks
or boxes of each class, and presence with the classes of each image. With class labels only, reports zero-shot
top-1. Set the recommended reading in the config's model.supervision.interactions.reading.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lfi.utils.next_commands import PHOTOS, option_words, print_next

from .arguments import ArgumentParser, add_config_arguments, positive, whole

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument(
        '--extractors',
        nargs='+',
        default=[],
        metavar='NAME',
        help='extractors, such as maskclip; "all": all that fit the model; an unknown name prints the '
        "known names (default: the config's)",
    )
    parser.add_argument(
        '--images', type=positive, metavar='N', help='use N images, evenly spaced (default: all)'
    )
    parser.add_argument('--batch-size', type=positive, default=16, help='images in a batch (%(default)s)')
    parser.add_argument(
        '--num-workers', type=whole, default=1, help='processes that load images (%(default)s)'
    )
    parser.add_argument(
        '--area',
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=('MIN', 'MAX'),
        help='use only regions that cover a share of their image in this range (0 1)',
    )
    parser.add_argument('--pictures', type=whole, default=6, help='images in maps.png (%(default)s)')
    parser.add_argument('--out', metavar='DIR', help='folder for results.json, table.md and maps.png')


def run(args: Namespace) -> None:
    """Print the metrics of each extractor, and write them to `--out`."""
    from lfi.engine.config_loading import load_config
    from lfi.evaluation.teachers.comparison import compare_extractors

    cfg = load_config(args.config, args.cfg_options)
    results = compare_extractors(
        cfg,
        args.extractors,
        title=args.config,
        num_images=args.images,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        area=tuple(args.area),
        num_shown=args.pictures,
        out=args.out,
    )
    print_next(next_command(args, cfg, results['extractors']))


def next_command(args: Namespace, cfg: Config, measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the command that trains with the recommended reading, or that labels without a training.

    Args:
        args: arguments of the command.
        cfg: the config.
        measured: results by the name of the extractor. With several, none is recommended.
    """
    options = dict(args.cfg_options or {})
    if 'interactions' not in (cfg.model.get('supervision') or {}) or not cfg.get('train_dataloader'):
        labels = ['--out', args.out or 'work_dirs/labels']
        return ['lfi', 'pseudo-label', args.config, PHOTOS, *labels, *option_words(options)]
    recommended = next(iter(measured.values())).get('recommended') if len(measured) == 1 else None
    for option, best in (recommended or {}).items():
        options[f'model.supervision.interactions.reading.{option}'] = best['choice']
    return ['lfi', 'train', args.config, *option_words(options)]
