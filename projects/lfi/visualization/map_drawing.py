"""Drawing of one map over its image: the only place that chooses its colours, and the words for presence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

# A sequential, perceptually even colour map, and its opacity where presence times map is 1.
COLOURS, OPACITY = 'inferno', 0.9
# Grey level of the image below, from 0 to 255, is raised to this least level, so that colours are seen.
LEAST_GREY = 40
# Presence in per cent below which a text is called likely absent, and from which nothing is added to it.
LIKELY_ABSENT, LIKELY_PRESENT = 10, 50


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
    grey = image.mean(-1) * (255 - LEAST_GREY) / 255 + LEAST_GREY
    cell.imshow(grey, cmap='gray', vmin=0, vmax=255, **frame)
    value = presence * np.nan_to_num(heat) / max(float(np.nanmax(heat, initial=0)), 1e-12)
    colours = matplotlib.colormaps[COLOURS](value)
    colours[..., 3] = OPACITY * value
    cell.imshow(colours, **frame)


def add_map_scale(figure: Figure, cells: Iterable[Axes], label: str) -> None:
    """Add the scale of `draw_map`, with a label, at the right of the cells of maps."""
    steps = np.linspace(0, 1, 256)
    colours = matplotlib.colormaps[COLOURS](steps)
    # As over a grey image.
    colours[:, :3] = 0.5 * (1 - OPACITY * steps[:, None]) + OPACITY * steps[:, None] * colours[:, :3]
    scale = ScalarMappable(Normalize(0, 100), ListedColormap(colours))
    bar = figure.colorbar(scale, ax=list(cells), fraction=0.02, pad=0.01, ticks=(0, 50, 100))
    bar.set_label(label, fontsize=6)
    bar.ax.tick_params(labelsize=6)


def presence_words(presence: float) -> str:
    """Say what a presence in [0, 1] is: '62 %', '31 %, not sure', or '4 %, likely absent'."""
    percent = round(100 * presence)
    if percent < LIKELY_ABSENT:
        return f'{percent} %, likely absent'
    return f'{percent} %' if percent >= LIKELY_PRESENT else f'{percent} %, not sure'
