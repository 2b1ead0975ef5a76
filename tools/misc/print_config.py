"""Print a config with its bases merged in: `python tools/misc/print_config.py CONFIG`."""

import argparse

import lfi  # noqa: F401
from lfi.engine import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print a config with its bases merged in')
    launch.add_config_arguments(parser)
    parser.add_argument('--save-path', metavar='FILE', help='also write it to a .py, .json or .yml file')
    args = parser.parse_args()
    if args.save_path and not args.save_path.endswith(('.py', '.json', '.yml', '.yaml')):
        parser.error(f'--save-path takes a .py, .json or .yml file, got {args.save_path}')
    return args


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args.config, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path:
        cfg.dump(args.save_path)


if __name__ == '__main__':
    launch.run(main)
