"""Ask a teacher about images, folders and videos: where it sees texts. Nothing is trained.

python tools/ask_teacher.py photo.jpg --texts dog grass
python tools/ask_teacher.py photos/ --texts dog grass --teacher ViT-B-16-SigLIP2:webli --out-dir seen

Each image, or frame of a video, gets a picture of its maps and a record in predictions.json. A teacher's
weights are downloaded the first time that they are used.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, positive
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('inputs', nargs='+', help='images, folders of images, videos')
    parser.add_argument('--texts', nargs='+', required=True, metavar='TEXT', help='texts to ask for')
    parser.add_argument(
        '--teacher',
        default='clip-b16',
        metavar='NAME',
        help="a teacher of LFI's configs, such as lit-lite0; one that `lfi teachers` lists, as MODEL:TAG; or "
        'a folder with an open_clip model (%(default)s)',
    )
    parser.add_argument(
        '--templates',
        nargs='+',
        metavar='PROMPT',
        help="prompts for the texts, with {} for the text (default: the teacher's own)",
    )
    parser.add_argument(
        '--input-size',
        type=int,
        metavar='PX',
        help="side that images are resized to: more is finer, and slower (default: the teacher's own)",
    )
    parser.add_argument(
        '--out-dir',
        default='work_dirs/asked',
        metavar='DIR',
        help='folder for pictures and predictions (%(default)s)',
    )
    parser.add_argument(
        '--frame-stride',
        type=positive,
        default=1,
        metavar='N',
        help='of a video, every N-th frame (%(default)s)',
    )
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'ask_teacher')
