"""Print the shell completion of commands, options and configs.

eval "$(lfi completion bash)"
eval "$(lfi completion zsh)"

Add the line to ~/.bashrc or ~/.zshrc.
"""

from __future__ import annotations

import argparse
from typing import Any

import shtab

from lfi.config_files import config_names

from .arguments import ArgumentParser, config_file

NEEDS_TORCH = False
CONFIGS = {'bash': '_lfi_configs', 'zsh': '_lfi_configs'}
PREAMBLE = {
    'bash': "_lfi_configs() {{ compgen -W '{names}' -- $1; compgen -f -- $1; }}",
    'zsh': '_lfi_configs() {{ compadd -- {names}; _files; }}',
}
"""Shell function that completes the name of a config, or a file. Other shells do not complete configs."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('shell', choices=shtab.SUPPORTED_SHELLS, help='name of the shell')


def run(args: argparse.Namespace) -> None:
    """Print the completion script of shtab."""
    preamble = PREAMBLE.get(args.shell, '').format(names=' '.join(config_names()))
    print(shtab.complete(whole_parser(), shell=args.shell, preamble=preamble))


def whole_parser() -> ArgumentParser:
    """Build one parser of all commands, with the completion of each argument."""
    # `main` imports all commands.
    from .main import commands, module_of, summary

    root = ArgumentParser(prog='lfi')
    subparsers = root.add_subparsers()
    for command in commands():
        parser = subparsers.add_parser(command, help=summary(command), conflict_handler='resolve')
        module_of(command).add_arguments(parser)
        for add in parser.variants.values():
            add(parser)
        for action in parser._actions:
            set_completion(action)
    return root


def set_completion(action: Any) -> None:
    """Set the completion of an argument: configs, or files for any other text."""
    if action.type is config_file:
        action.complete = CONFIGS
    elif action.choices is None and action.type is None and action.nargs != 0:
        action.complete = shtab.FILE
