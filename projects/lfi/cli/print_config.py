"""Print a config with its bases merged in.

lfi print-config CONFIG
"""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import redirect_stdout

from .arguments import ArgumentParser, add_config_arguments

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument('--save-path', metavar='FILE', help='.py, .json or .yml file to write as well')
    parser.add_check(suffix_error)


def suffix_error(args: Namespace) -> str | None:
    """Return an error message if `--save-path` has an unknown suffix, else None."""
    if args.save_path and not args.save_path.endswith(SUFFIXES):
        return f'--save-path takes a .py, .json or .yml file, got {args.save_path}'
    return None


def run(args: Namespace) -> None:
    """Print the config."""
    from lfi.engine.config_as_text import text_config
    from lfi.engine.config_loading import load_config

    # MMEngine logs the variables of the environment that a config reads.
    with redirect_stdout(sys.stderr):
        cfg = text_config(load_config(args.config, args.cfg_options))
    print(cfg.pretty_text)
    if args.save_path:
        cfg.dump(args.save_path)
