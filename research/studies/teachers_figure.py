"""Figure of how well teachers point, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from lfi.utils.matplotlib_settings import default_style
from matplotlib.figure import Figure

from .figure_style import COLOURS, MARKERS, PAPER_AND_INK, style_axes

INTERVAL = 1.96
"""Standard errors of a 95 % interval."""

MAPS = {
    'concept_softmax': "map by 'concept_softmax'",
    'logits': "map by 'logits'",
    'chance: centre': 'chance: a blob in the middle of the image',
}
"""Labels of the maps that are drawn."""


@default_style()
def draw_teachers(rows: Sequence[Mapping[str, str]], theme: str = 'light') -> Figure:
    """Draw the pointing game of each data set, with 95 % intervals over its regions.

    Args:
        rows: rows of the CSV file of `python -m research teachers`.
        theme: 'light' or 'dark'. Defaults to 'light'.
    """
    names = {row['data']: f'{row["data"]}\n{row["teacher"]}, {row["regions"]} regions' for row in rows}
    places = list(names)
    paper, ink = PAPER_AND_INK[theme]
    figure = plt.figure(figsize=(8, 0.7 * len(names) + 1.3), layout='constrained', facecolor=paper)
    axes = figure.subplots()
    for place, (kind, label) in enumerate(MAPS.items()):
        drawn = [row for row in rows if row['map'] == kind]
        heights = [places.index(row['data']) + 0.22 * (place - 1) for row in drawn]
        axes.errorbar(
            [float(row['pointing']) for row in drawn],
            heights,
            xerr=[INTERVAL * float(row['error']) for row in drawn],
            label=label,
            fmt=MARKERS[place],
            color=COLOURS[place],
            capsize=3,
            markersize=5,
        )
    axes.set_yticks(range(len(names)), list(names.values()), fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel('pointing game, % of regions, and its 95 % interval', fontsize=9)
    style_axes(axes, theme)
    figure.legend(loc='outside upper center', ncols=3, frameon=False, fontsize=9, labelcolor=ink)
    return figure
