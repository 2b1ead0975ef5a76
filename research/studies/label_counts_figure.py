"""What students reach by how many labels are known, as a matplotlib figure."""

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
    """A line for each arm: the mean of its test metric, and one standard deviation over the seeds.

    Args:
        arms: the lines; one that has no cell at all is left out.
        counts: by the labels of a class the cells of all arms, each with its arm as the name of its run.
        metric: what the tests are.
    """
    figure, axes = plt.subplots(figsize=(7, 4.5), layout='constrained')
    for arm in arms:
        tests = {
            labels: found
            for labels, cells in counts.items()
            if (found := [cell.test for cell in cells if cell.run.name == arm])
        }
        if tests:
            means = [np.mean(found) for found in tests.values()]
            spreads = [spread(found) for found in tests.values()]
            axes.errorbar(list(tests), means, spreads, marker='o', markersize=4, capsize=3, label=arm)
    axes.set_xscale('log')
    axes.set_xticks(list(counts), [str(labels) for labels in counts], minor=False)
    axes.minorticks_off()
    axes.set_xlabel('labels a class')
    axes.set_ylabel(f'{metric} on the test images, %')
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure
