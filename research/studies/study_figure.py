"""Figure of the learning curves and gains of a study."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from lfi.utils.matplotlib_settings import default_style
from matplotlib.figure import Figure

from .paired import spread
from .runs import Run
from .study import Study

CONVERGED = 1.0
"""Largest rise of the reference in its last fifth, in points, that counts as converged."""


@default_style()
def draw_study(study: Study) -> Figure:
    """Draw learning curves with a band of one standard deviation, and gains over the baseline in the test.

    Curves are drawn at validations of all seeds. A title says if the baseline still rises. Gains have their
    95 % interval for two seeds or more.
    """
    palette = plt.get_cmap('tab20')
    colours = {arm: palette(i % palette.N) for i, arm in enumerate(study.cells)}
    figure, (curves, gains) = plt.subplots(1, 2, figsize=(13, 5), layout='constrained')
    for arm, cells in study.cells.items():
        epochs, values = _common_curves([cell.run for cell in cells])
        mean, band = values.mean(0), spread(values)
        width = 2.5 if arm in (study.method, study.baseline) else 1
        curves.plot(epochs, mean, label=arm, color=colours[arm], linewidth=width)
        curves.fill_between(epochs, mean - band, mean + band, color=colours[arm], alpha=0.12)
    metric = next(iter(study.cells.values()))[0].run.metric
    curves.set_xlabel('epoch')
    curves.set_ylabel(f'{metric} on the validation images, %')
    curves.legend(fontsize=7)
    curves.grid(alpha=0.3)
    rise = late_rise([cell.run for cell in study.cells[study.baseline]])
    if rise is not None and rise > CONVERGED:
        curves.set_title(
            f'not converged: {study.baseline} rises by {rise:.1f} points in its last fifth', fontsize=9
        )

    arms = [arm for arm in study.cells if arm != study.baseline]
    baseline = study.by_seed(study.baseline)
    for row, arm in enumerate(reversed(arms)):
        points = [cell.test - baseline[cell.seed] for cell in study.cells[arm] if cell.seed in baseline]
        gains.scatter(points, [row] * len(points), color=colours[arm], s=12, alpha=0.5)
        gain = study.difference(study.baseline, arm)
        if gain is not None:
            reach = [[gain.mean - gain.low], [gain.high - gain.mean]]
            gains.errorbar(gain.mean, row, xerr=reach, fmt='o', color=colours[arm], capsize=3)
    gains.axvline(0, color='grey', linestyle=':', linewidth=1)
    gains.set_yticks(range(len(arms)), reversed(arms))
    gains.set_xlabel(f'{study.metric or metric} on the test images minus {study.baseline}, points')
    gains.grid(alpha=0.3, axis='x')
    return figure


def late_rise(runs: Sequence[Run]) -> float | None:
    """Return how much the mean metric of runs rises in the last fifth of the epochs; None if unknown."""
    epochs, values = _common_curves(runs)
    before = [i for i, epoch in enumerate(epochs) if epoch <= 0.8 * epochs[-1]]
    return float(values.mean(0)[-1] - values.mean(0)[before[-1]]) if before else None


def _common_curves(runs: Sequence[Run]) -> tuple[list[int], np.ndarray]:
    """Epochs validated by all runs, and their accuracy (runs, validations)."""
    by_epoch = [dict(zip(run.epochs, run.accuracy)) for run in runs]
    epochs = sorted(set.intersection(*map(set, by_epoch)))
    return epochs, np.array([[accuracy[epoch] for epoch in epochs] for accuracy in by_epoch])
