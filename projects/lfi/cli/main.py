"""Entry point of the command line `lfi`, and the list of its commands."""

from __future__ import annotations

import atexit
import gc
import os
import select
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TextIO

from lfi.config_files import tools_root
from lfi.errors import did_you_mean
from lfi.utils.garbage import without_collector
from lfi.version import __version__

from .arguments import ArgumentParser
from .running import run_tool

CLOSED_PIPE = 141
"""Exit code of a program that a closed pipe stopped."""
GROUPS = {
    'Begin': ('init', 'adapt', 'doctor', 'completion'),
    'Train and test': ('train', 'pretrain', 'test', 'report', 'print-config'),
    'Teachers': ('ask', 'teachers', 'eval-teacher', 'cache'),
    'Ask a trained model': ('infer', 'demo'),
    'Label images': ('pseudo-label',),
    'Export': ('export', 'benchmark'),
}
"""Commands by group, in the order of the help."""


def commands() -> list[str]:
    """Return the names of all commands."""
    return sorted(name for names in GROUPS.values() for name in names)


def module_of(command: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f'lfi.cli.{command.replace("-", "_")}')


def summary(command: str) -> str:
    """Return the first line of a command's help."""
    return (module_of(command).__doc__ or '').partition('\n')[0].removesuffix('.')


def parser_of(command: str) -> ArgumentParser:
    """Build the parser of a command."""
    module = module_of(command)
    parser = ArgumentParser(prog=f'lfi {command}', description=module.__doc__)
    module.add_arguments(parser)
    return parser


def main() -> None:
    """Run the command line `lfi COMMAND ...`."""
    try:
        _run_command_line()
        # Here, and not at exit.
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed(sys.stdout):
            raise
        # The reader, such as `head`, has what it wants. Python would flush into the pipe again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)


def _is_closed(stream: TextIO) -> bool:
    """Whether the reader of a stream is gone."""
    poller = select.poll()
    # Errors are reported without a mask.
    poller.register(stream.fileno(), 0)
    return bool(poller.poll(0))


def _run_command_line() -> None:
    command, *arguments = sys.argv[1:] or ['--help']
    if command in ('-h', '--help', 'help'):
        print(overview())
    elif command in ('-V', '--version'):
        print(__version__)
    elif command in commands():
        run_command(command, arguments)
    else:
        hint = did_you_mean(command, commands())
        ArgumentParser(prog='lfi').error(f'there is no command {command}{hint and f"; {hint}"}')


def run_command(command: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error is printed as one line and ends the process.

    Args:
        command: one of `commands`.
        arguments: arguments of the command. Defaults to None: the command line of the process.
    """
    args = parser_of(command).parse_args(arguments)
    module = module_of(command)
    if getattr(module, 'NEEDS_TORCH', True):
        # `freeze` exempts all objects from the garbage collection at exit, which would take a second.
        atexit.register(gc.freeze)
        run_tool(partial(_run_with_models, module.run), args)
    else:
        module.run(args)


def _run_with_models(run: Callable[[Namespace], None], args: Namespace) -> None:
    """Import torch and all models, then run a command."""
    with without_collector():
        import lfi.models  # noqa: F401
    run(args)


def overview() -> str:
    """Return the help of `lfi`: all commands by group, one a line."""
    width = max(map(len, commands()))
    lines = ['usage: lfi COMMAND [ARGUMENTS ...]', '       lfi COMMAND --help', '       lfi --version']
    for title, names in GROUPS.items():
        lines += ['', f'{title}:', *(f'  {name.ljust(width)}  {summary(name)}' for name in names)]
    lines += [
        '',
        "CONFIG is a file, or the name of one of LFI's configs: lfi train lfi_vit-128x6-p8_shapes",
        f'Several GPUs: {tools_root() / "tools"}/dist_train.sh CONFIG 8; dist_test.sh, dist_cache_teacher.sh '
        'and slurm_*.sh are in the same folder',
    ]
    return '\n'.join(lines)
