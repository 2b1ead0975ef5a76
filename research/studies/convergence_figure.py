"""Learning curves of a method and its baseline, by epochs and by seconds."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from lfi.utils.matplotlib_settings import default_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .runs import Run


@default_style()
def draw_convergence(baseline: Sequence[Run], method: Sequence[Run], teacher_seconds: float = 0.0) -> Figure:
    """Draw each run as a thin line, their mean as a thick one, and the mean best of the baseline.

    Args:
        baseline: runs of the baseline, seed by seed.
        method: runs of the method, seed by seed.
        teacher_seconds: seconds by which the method's curves start later. Defaults to 0.
    """
    figure, (epochs, seconds) = plt.subplots(1, 2, figsize=(11, 4.5), layout='constrained', sharey=True)
    for name, runs, colour, start in (
        ('baseline', baseline, 'tab:grey', 0.0),
        ('method', method, 'tab:red', teacher_seconds),
    ):
        _draw(epochs, [(np.array(run.epochs), run) for run in runs], name, colour)
        _draw(
            seconds,
            [(np.array([start + run.seconds_until(epoch) for epoch in run.epochs]), run) for run in runs],
            name,
            colour,
        )
    for axes, label in ((epochs, 'epoch'), (seconds, 'seconds, what the teacher took before included')):
        axes.axhline(np.mean([run.best for run in baseline]), color='grey', linestyle=':', linewidth=1)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    epochs.set_ylabel(f'{baseline[0].metric} on the validation images, %')
    epochs.legend()
    return figure


def _draw(axes: Axes, curves: Sequence[tuple[np.ndarray, Run]], name: str, colour: str) -> None:
    for x, run in curves:
        axes.plot(x, run.accuracy, color=colour, linewidth=0.8, alpha=0.4)
    mean_x = np.mean([x for x, _ in curves], 0)
    axes.plot(
        mean_x, np.mean([run.accuracy for _, run in curves], 0), color=colour, linewidth=2.2, label=name
    )
