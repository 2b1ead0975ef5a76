"""Run a trained model on images, folders and videos: maps of texts, and predictions.

python tools/infer.py CONFIG CHECKPOINT photos/ cat.jpg --texts 'red circle' star --out-dir work_dirs/seen
python tools/infer.py CONFIG CHECKPOINT clip.mp4 --frame-stride 5 --texts dog --out-dir work_dirs/seen

Each image, or frame of a video, gets a picture and a record in predictions.json. The pictures of a video are
also joined to a video.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, positive
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('inputs', nargs='+', help='images, folders of images, videos')
    parser.add_argument(
        '--texts',
        nargs='+',
        metavar='TEXT',
        help='texts to ask for (default: the classes of the training; pictures show the 5 strongest)',
    )
    parser.add_argument(
        '--templates',
        nargs='+',
        metavar='PROMPT',
        help="prompts for the texts, with {} for the text (default: the teacher's own)",
    )
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for pictures and predictions')
    parser.add_argument('--batch-size', type=positive, default=8, help='images at once (%(default)s)')
    parser.add_argument(
        '--frame-stride',
        type=positive,
        default=1,
        metavar='N',
        help='of a video, every N-th frame (%(default)s)',
    )
    parser.add_argument(
        '--device', help='device of the model, such as cpu or cuda:1 (default: a GPU if there is one)'
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'infer')
