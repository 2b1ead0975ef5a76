"""Serve a page on this machine on which to ask a trained model.

python tools/demo.py CONFIG CHECKPOINT

Upload an image, type texts, and see the prediction and the map of each text. The page is for this machine's
browser alone: it loads nothing from the network, sends nothing there, and is not shared.
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from lfi.arguments import ArgumentParser, add_config_arguments
from lfi.tools import run_tool


def port(text: str) -> int:
    """A port's number."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise ArgumentTypeError(f'must be a whole number from 1 to {2**16 - 1}, got {text!r}')
    return int(text)


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--port', type=port, help='of the page (default: the first free one from 7860 on)')
    parser.add_argument('--device', help='device of the model (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'demo')
