"""Train a model.

python tools/train.py CONFIG
tools/dist_train.sh CONFIG 8 --amp
"""

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, add_training_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_training_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'train')
