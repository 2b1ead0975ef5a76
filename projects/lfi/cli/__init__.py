"""Command line `lfi`: one file a command, and the parser that the commands share.

A command's file has its help as the docstring, `add_arguments` and `run`. It imports nothing heavy before
`run`, so that help and errors of the command line are fast. It may import all other packages.
"""

from .main import main, run_command

__all__ = ['main', 'run_command']
