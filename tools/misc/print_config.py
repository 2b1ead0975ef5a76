"""Print a config with its bases merged in.

python tools/misc/print_config.py CONFIG
"""

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('--save-path', metavar='FILE', help='also write it to a .py, .json or .yml file')
    args = parser.parse_args()
    if args.save_path and not args.save_path.endswith(('.py', '.json', '.yml', '.yaml')):
        parser.error(f'--save-path takes a .py, .json or .yml file, got {args.save_path}')
    return args


if __name__ == '__main__':
    run_tool(parse_args, 'print_config')
