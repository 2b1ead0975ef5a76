"""Figure of the learning curves of single runs."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from .runs import Run


def draw_curves(axes: Axes, runs: Sequence[Run]) -> None:
    """Draw accuracy by epoch, with a dotted line at the best of the first run, the baseline."""
    for run in runs:
        axes.plot(run.epochs, run.accuracy, marker='o', markersize=3, label=run.name)
    axes.axhline(runs[0].best, color='grey', linestyle=':', linewidth=1)
    axes.set_xlabel('epoch')
    axes.set_ylabel(f'{runs[0].metric} on the validation images, %')
    axes.legend()
    axes.grid(alpha=0.3)
