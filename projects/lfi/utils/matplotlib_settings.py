"""Matplotlib's settings: those of a `matplotlibrc` in the working directory may be a stranger's."""

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

# Settings hold for all threads, so one thread draws at a time.
_settings = threading.RLock()


def pass_over_matplotlibrc() -> None:
    """Import matplotlib from another folder, where the working directory has a `matplotlibrc`.

    Matplotlib reads that one first, whatever `MATPLOTLIBRC` says. It is for the start of a process, since the
    working directory is that of all threads; and it costs nothing where there is no such file.
    """
    if not os.path.exists('matplotlibrc'):
        return
    here = os.getcwd()
    os.chdir(Path(__file__).parent)
    try:
        import_module('matplotlib')
    finally:
        os.chdir(here)


@contextmanager
def default_style() -> Iterator[None]:
    """Matplotlib's defaults for what is drawn in a block, or in the function that this decorates."""
    from matplotlib import style

    with _settings, style.context('default'):
        yield


@default_style()
def save_figure(figure: Figure, file: Any, **options: Any) -> None:
    """Write a figure by matplotlib's defaults; arguments as of its `savefig`."""
    if isinstance(file, str | Path):
        # A link in someone else's folder would lead to another file.
        Path(file).unlink(missing_ok=True)
    figure.savefig(file, **options)
