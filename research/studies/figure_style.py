"""Style of the figures whose rows are read from left to right: colours, markers and axes of two themes."""

from __future__ import annotations

from matplotlib.axes import Axes

MARKERS = 'osD'
COLOURS = ('#0072b2', '#d55e00', '#009e73')
"""Colours that people with colour-blindness tell apart (Okabe and Ito)."""
PAPER_AND_INK = {'light': ('white', '#1f2328'), 'dark': ('#0d1117', '#e6edf3')}


def style_axes(axes: Axes, theme: str) -> None:
    """Colour axes for a theme, and leave the bottom line and vertical grid lines alone.

    Args:
        axes: axes with their labels.
        theme: 'light' or 'dark'.
    """
    paper, ink = PAPER_AND_INK[theme]
    axes.set_facecolor(paper)
    axes.xaxis.label.set_color(ink)
    axes.tick_params(colors=ink)
    axes.grid(alpha=0.25, axis='x')
    for side, spine in axes.spines.items():
        spine.set_visible(side == 'bottom')
        spine.set_color(ink)
