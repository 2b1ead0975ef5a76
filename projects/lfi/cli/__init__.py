"""The command `lfi`: one file a command, and what the commands share.

A command's file has its help as the docstring, `add_arguments` and `run`. It imports nothing heavy before
`run`, so that help and errors of the command line come at once. It may import every part of the package.
"""

from .main import main, run_command

__all__ = ['main', 'run_command']
