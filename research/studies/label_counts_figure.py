"""Figure of the test metric by the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from lfi.utils.matplotlib_settings import default_style
from matplotlib.figure import Figure

from .paired import spread
from .study import Cell


@default_style()
def draw_label_counts(arms: Sequence[str], counts: Mapping[int, Sequence[Cell]], metric: str) -> Figure:
    """Draw a line for each arm: mean and standard deviation of the test metric over the seeds.

    Args:
        arms: names of the arms; arms without cells are skipped.
        counts: cells of all arms by the number of labels per class. The name of a cell's run is its arm.
        metric: name of the test metric.
    """
    figure, axes = plt.subplots(figsize=(7, 4.5), layout='constrained')
    for arm in arms:
        tests = {
            labels: values
            for labels, cells in counts.items()
            if (values := [cell.test for cell in cells if cell.run.name == arm])
        }
        if tests:
            means = [np.mean(values) for values in tests.values()]
            spreads = [spread(values) for values in tests.values()]
            axes.errorbar(list(tests), means, spreads, marker='o', markersize=4, capsize=3, label=arm)
    axes.set_xscale('log')
    axes.set_xticks(list(counts), [str(labels) for labels in counts], minor=False)
    axes.minorticks_off()
    axes.set_xlabel('labels a class')
    axes.set_ylabel(f'{metric} on the test images, %')
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure
