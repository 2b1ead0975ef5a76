"""Drawing of one map over its image: the only place that chooses its colours, and the words for presence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

# A sequential, perceptually even colour map without its darkest fifth, and its opacity at 1. Opacity grows
# faster than the value, so that weak maps are seen.
COLOURS, DARKEST, OPACITY, POWER = 'inferno', 0.2, 0.75, 0.7
# Darkest and brightest grey of the image below: colours stand out against both.
GREYS = 30, 190
# Presence in per cent below which a text is called likely absent, and from which it is called likely there.
LIKELY_ABSENT, LIKELY_THERE = 20, 60


def draw_map(cell: Axes, image: np.ndarray, heat: np.ndarray, presence: float = 1.0, **frame: Any) -> None:
    """Draw a map over its image in grey. Colour and opacity show the map times the presence.

    The map is scaled to a maximum of 1 first. So the scale is the same for all texts, and the map of a text
    of small presence is faint everywhere.

    Args:
        cell: axes of the picture.
        image: (H, W, 3) uint8, RGB.
        heat: (H, W), map of 0 or more on the image's pixels; NaN where the model did not look.
        presence: in [0, 1], whether the image shows the text. Defaults to 1: only the map is drawn.
        **frame: arguments of `Axes.imshow`, such as `extent`.
    """
    darkest, brightest = GREYS
    grey = darkest + image.mean(-1) * (brightest - darkest) / 255
    cell.imshow(grey, cmap='gray', vmin=0, vmax=255, **frame)
    value = np.nan_to_num(presence * heat) / max(float(np.nanmax(heat, initial=0)), 1e-12)
    cell.imshow(_colours(value), **frame)


def _colours(values: np.ndarray) -> np.ndarray:
    """Return RGBA colours (..., 4) of values in [0, 1]."""
    colours = matplotlib.colormaps[COLOURS](DARKEST + (1 - DARKEST) * values)
    colours[..., 3] = OPACITY * values**POWER
    return colours


def add_map_scale(figure: Figure, cells: Iterable[Axes]) -> None:
    """Add the scale of `draw_map` at the right of cells."""
    colours = _colours(np.linspace(0, 1, 256))
    # Blended with the mean grey, as over an image.
    opacity = colours[:, 3:]
    colours = np.concatenate([(1 - opacity) * np.mean(GREYS) / 255 + opacity * colours[:, :3], opacity**0], 1)
    scale = ScalarMappable(Normalize(0, 100), ListedColormap(colours))
    bar = figure.colorbar(scale, ax=list(cells), fraction=0.02, pad=0.01, shrink=0.7, ticks=(0, 50, 100))
    bar.set_label('strength of the map × presence, %', fontsize=7)
    bar.ax.tick_params(labelsize=7)


def presence_words(presence: float) -> str:
    """Say what a presence in [0, 1] is: 'likely there, 62 %', 'not sure, 31 %', or 'likely absent, 4 %'.

    The presence of a model that has diverged is 'unknown'.
    """
    if math.isnan(presence):
        return 'unknown'
    percent = round(100 * presence)
    if percent < LIKELY_ABSENT:
        return f'likely absent, {percent} %'
    return f'{"likely there" if percent >= LIKELY_THERE else "not sure"}, {percent} %'
