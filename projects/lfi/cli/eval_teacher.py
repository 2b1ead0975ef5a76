"""Measure how well a teacher's maps can be read, and recommend a reading.

lfi eval-teacher configs/classification/lfi_vit-128x6-p8_shapes.py --out work_dirs/teacher
lfi eval-teacher configs/teachers/lit-lite0_coco.py --extractors all --images 100

The teacher is the config's model.teacher, the images are those of its validation set, as they are on disk.
Maps are compared with masks, or else boxes, of each class in each image, presence with its classes.
Of images with labels alone it tells the zero-shot top-1.
Tables, JSON and pictures are of each extractor. The recommendation is for the config's
model.supervision.interactions.reading.
"""

from __future__ import annotations

from argparse import Namespace

from .arguments import ArgumentParser, add_config_arguments, positive, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument(
        '--extractors',
        nargs='+',
        default=[],
        metavar='NAME',
        help='such as maskclip, or "all" that fit the model; an unknown one prints all names (default: the '
        "config's)",
    )
    parser.add_argument(
        '--images', type=positive, metavar='N', help='only N images, evenly spaced (default: all)'
    )
    parser.add_argument('--batch-size', type=positive, default=16, help='images at once (%(default)s)')
    parser.add_argument(
        '--num-workers', type=whole, default=1, help='processes that load images (%(default)s)'
    )
    parser.add_argument(
        '--area',
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=('MIN', 'MAX'),
        help='only regions of this share of their image (0 1)',
    )
    parser.add_argument('--pictures', type=whole, default=6, help='images in the picture (%(default)s)')
    parser.add_argument('--out', metavar='DIR', help='write results.json, table.md and maps.png')


def run(args: Namespace) -> None:
    """Print how well the maps can be read, and write what `--out` asks for."""
    from lfi.engine.config_loading import load_config
    from lfi.evaluation.teachers.comparison import compare_extractors

    compare_extractors(
        load_config(args.config, args.cfg_options),
        args.extractors,
        title=args.config,
        num_images=args.images,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        area=tuple(args.area),
        num_pictures=args.pictures,
        out=args.out,
    )
