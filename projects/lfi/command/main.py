"""From `lfi COMMAND ...` to what it runs."""

import runpy
import sys
from importlib import import_module

from lfi.arguments import ArgumentParser
from lfi.errors import nearest
from lfi.version import __version__

from .table import OWN, SCRIPTS, commands, overview, script_of


def main() -> None:
    """Run the command line. A tool sees its arguments as if its script had been run with them."""
    command, *arguments = sys.argv[1:] or ['--help']
    if command in ('-h', '--help', 'help'):
        print(overview())
    elif command in ('-V', '--version'):
        print(__version__)
    else:
        run(command, arguments)


def run(command: str, arguments: list[str]) -> None:
    """Run a command; the process ends with its exit status.

    Args:
        command: One of `commands`; another one ends the process with a line that names the nearest.
        arguments: What stands behind it.
    """
    if command not in commands():
        near = nearest(command, commands())
        ArgumentParser(prog='lfi').error(f'there is no command {command}{near and f"; {near}"}')
    ArgumentParser.typed_as = f'lfi {command}'
    ArgumentParser.scripts = {f'python tools/{script}': f'lfi {name}' for name, script in SCRIPTS.items()}
    if command in OWN:
        sys.argv[1:] = arguments
        import_module(OWN[command]).main()
    else:
        script = str(script_of(command))
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name='__main__')
