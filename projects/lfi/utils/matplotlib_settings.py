"""Matplotlib's settings, without those of an untrusted `matplotlibrc` in the working directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The settings are global, so one thread draws at a time.
_settings = threading.RLock()


def ignore_matplotlibrc() -> None:
    """Import matplotlib from another folder if the working directory has a `matplotlibrc`.

    Matplotlib reads that file first, whatever `MATPLOTLIBRC` says. Call it at the start of a process, because
    all threads share the working directory.
    """
    if not os.path.exists('matplotlibrc'):
        return
    working_dir = os.getcwd()
    os.chdir(Path(__file__).parent)
    try:
        import_module('matplotlib')
    finally:
        os.chdir(working_dir)


@contextmanager
def default_style() -> Iterator[None]:
    """Apply matplotlib's default style in a block, or in a decorated function."""
    from matplotlib import style

    with _settings, style.context('default'):
        yield


@default_style()
def save_figure(figure: Figure, file: Any, **options: Any) -> None:
    """Save a figure in matplotlib's default style; takes the arguments of `Figure.savefig`."""
    if isinstance(file, str | Path):
        # A link in an untrusted folder may lead to any file.
        Path(file).unlink(missing_ok=True)
    figure.savefig(file, **options)
