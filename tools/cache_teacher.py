"""Ask a config's teacher about every training image, once, and keep its maps.

python tools/cache_teacher.py CONFIG --out DIR
python tools/train.py CONFIG --cfg-options model.teacher_cache=DIR

The maps are those of the unaugmented images; training warps them into each view. Of a baseline that copies
the teacher's features, these are kept. A run that was stopped or killed goes on where it was. Several
processes, on one machine or many, share the work:

tools/dist_cache_teacher.sh CONFIG 8 --out DIR
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, add_launcher_arguments, positive, whole
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the cache')
    parser.add_argument('--batch-size', type=positive, default=64, help='images at once (%(default)s)')
    parser.add_argument(
        '--num-workers', type=whole, default=2, help='processes that load images (%(default)s)'
    )
    parser.add_argument(
        '--verify',
        nargs='?',
        type=positive,
        const=256,
        metavar='N',
        help='instead: read a finished cache again, and ask again about N images (%(const)s)',
    )
    add_launcher_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'cache_teacher')
