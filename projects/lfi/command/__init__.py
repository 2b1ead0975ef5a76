"""The command `lfi`: each of its commands runs a tool of `tools/`, or a module of this package."""

from .main import main

__all__ = ['main']
