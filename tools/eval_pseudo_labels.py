"""Measure a teacher's or a student's labels on images that have annotations.

python tools/eval_pseudo_labels.py configs/teachers/lit-lite0_coco.py
python tools/eval_pseudo_labels.py CONFIG --checkpoint FILE --sweep

The images are those of the config's validation set, as they are on disk. The table has the labels of the
config's teacher, or of a student, and controls beside them. --sweep prints what each threshold gives: choose
it on images that nothing is measured on, such as those of the training.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, positive
from lfi.pseudo_labels.arguments import add_reader_arguments, add_rule_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_reader_arguments(parser)
    add_rule_arguments(parser)
    parser.add_argument(
        '--images', type=positive, metavar='N', help='only N images, evenly spaced (default: all)'
    )
    parser.add_argument('--sweep', action='store_true', help='print what other thresholds give, too')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'eval_pseudo_labels')
