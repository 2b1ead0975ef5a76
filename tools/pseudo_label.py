"""Label images that have no labels, by a teacher or by its student.

python tools/pseudo_label.py lfi_mask-rcnn_r50-fpn_1x_coco photos/ --out work_dirs/labels --pictures 12
python tools/pseudo_label.py CONFIG photos/ --checkpoint FILE --texts dog 'red car' --out work_dirs/labels

Writes annotations.json of COCO's format, with boxes, masks and scores; labels.txt and classes.txt for
classification; and scores.csv. A run that was stopped goes on by the same command.
tools/eval_pseudo_labels.py measures such labels, and chooses thresholds.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, whole
from lfi.pseudo_labels.arguments import add_reader_arguments, add_rule_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('images', nargs='+', help='images, and folders of images with their subfolders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the labels')
    add_reader_arguments(parser)
    add_rule_arguments(parser)
    parser.add_argument(
        '--pictures',
        type=whole,
        default=0,
        metavar='N',
        help='draw N of the images in labels.png (%(default)s)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'pseudo_label')
