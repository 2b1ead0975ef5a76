"""Measure how well a teacher's maps can be read, and recommend a reading.

python tools/eval_teacher.py configs/classification/lfi_vit-tiny_shapes.py --out work_dirs/teacher
python tools/eval_teacher.py configs/teachers/lit-lite0_coco.py --extractors all --images 100

The teacher is the config's model.teacher, the images are those of its validation set, as they are on disk.
Maps are compared with masks, or else boxes, of each class in each image, presence with its classes.
Of images with labels alone it tells the zero-shot top-1.
Tables, JSON and pictures are of each extractor. The recommendation is for the config's model.reading.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, positive, whole
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
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
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'eval_teacher')
