"""Command line of the studies: `python -m research COMMAND`, run in the root of a clone."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

from lfi.cli.arguments import ArgumentParser
from lfi.errors import did_you_mean

COMMANDS = {
    'quickstart': 'quickstart',
    'study': 'study',
    'compare': 'compare',
    'benchmark-dg': 'benchmark_dg',
    'human-study': 'human_study',
    'lightly-train': 'lightly_train',
    'presence': 'presence',
    'speed': 'speed',
    'teachers': 'teachers',
    'train-shapes-teacher': 'train_shapes_teacher',
}
"""Modules of `research.commands` by command name."""


def help_text() -> str:
    """Return the help text: one line for each command."""
    lines = [
        'usage: python -m research COMMAND [ARGUMENTS ...]',
        '       python -m research COMMAND --help',
        '',
    ]
    width = max(map(len, COMMANDS))
    return '\n'.join([*lines, *(f'  {name.ljust(width)}  {summary(name)}' for name in COMMANDS)])


def summary(command: str) -> str:
    """Return the first line of a command's module docstring, without importing the module."""
    file = Path(__file__).parent / 'commands' / f'{COMMANDS[command]}.py'
    text = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0].removesuffix('.')


def main() -> None:
    """Run the command line."""
    command, *arguments = sys.argv[1:] or ['--help']
    if command in ('-h', '--help', 'help'):
        print(help_text())
        return
    if command not in COMMANDS:
        hint = did_you_mean(command, list(COMMANDS))
        ArgumentParser(prog='python -m research').error(
            f'there is no command {command}{hint and f"; {hint}"}'
        )
    # Parsers show this as the name of the program.
    sys.argv = [f'python -m research {command}', *arguments]
    import_module(f'research.commands.{COMMANDS[command]}').run()


if __name__ == '__main__':
    main()
