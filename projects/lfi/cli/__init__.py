"""Command line `lfi`: one file a command, and the parser that the commands share.

A command's file has the help as its docstring, and the functions `add_arguments` and `run`. It imports
nothing heavy before `run`, so that help and errors are fast. This package may import all others.
"""

from .main import main, run_command

__all__ = ['main', 'run_command']
