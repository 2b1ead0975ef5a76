"""Figures of a run: curves of losses and metrics, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lfi.concepts.names import class_name
from lfi.utils.matplotlib_settings import default_style

from .fonts import set_fonts

MAX_LINES = 8
"""Largest number of curves in one diagram."""


@default_style()
def draw_history(groups: Mapping[str, Mapping[str, Mapping[int, float]]], unit: str) -> Figure:
    """Draw a diagram for each group of curves, side by side.

    Args:
        groups: by title of the diagram, the values of each curve by epoch or iteration. Of more than 8 curves
            the first are drawn.
        unit: title of the horizontal axes.
    """
    figure = Figure(figsize=(5 * len(groups), 3.6), layout='constrained')
    for axes, (title, curves) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items()):
        _draw_curves(axes, curves)
        axes.set_title(title, parse_math=False)
        axes.set_xlabel(unit)
    set_fonts(figure)
    return figure


def _draw_curves(axes: Axes, curves: Mapping[str, Mapping[int, float]]) -> None:
    for name, curve in list(curves.items())[:MAX_LINES]:
        # A label with a leading underscore would be left out of the legend.
        axes.plot([*curve], [*curve.values()], marker='o', markersize=3, label=f' {name}')
    for text in axes.legend(fontsize=7).get_texts():
        text.set_parse_math(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)


@default_style()
def draw_confusion(pairs: Mapping[tuple[int, int], int], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix, coloured by the share of the truth.

    Args:
        pairs: numbers of images by label of the truth and predicted label.
        classes: class names by label. Labels without a name are drawn by their number.
    """
    size = max([len(classes) - 1, *(label for pair in pairs for label in pair)]) + 1
    counts = np.zeros((size, size), int)
    for pair, count in pairs.items():
        counts[pair] = count
    names = [class_name(classes, label) for label in range(size)]
    side = 2.5 + 0.35 * size
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    for truth, prediction in np.argwhere(counts):
        colour = 'white' if shares[truth, prediction] > 0.5 else 'black'
        style: dict = dict(ha='center', va='center', fontsize=7, color=colour)
        axes.text(prediction, truth, str(counts[truth, prediction]), **style)
    axes.set_xticks(range(size), names, rotation=90, fontsize=7, parse_math=False)
    axes.set_yticks(range(size), names, fontsize=7, parse_math=False)
    axes.set_xlabel('predicted')
    axes.set_ylabel('truth')
    set_fonts(figure)
    return figure
