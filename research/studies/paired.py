"""Paired comparison of a method with its baseline over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from lfi.utils import markdown
from numpy.typing import ArrayLike
from scipy import stats

from .runs import Run


class Difference(NamedTuple):
    """Mean difference of pairs with its 95 % interval by Student's t."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})'


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """Return the paired difference, after - before.

    Raises:
        ValueError: if the numbers of values differ or are below two.
    """
    if len(before) != len(after) or len(before) < 2:
        raise ValueError(
            f'{len(before)} runs of the baseline and {len(after)} of the method: give the same number of '
            'both, with the same seeds, and two or more'
        )
    difference = np.subtract(after, before)
    mean = difference.mean()
    reach = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
    return Difference(mean, mean - reach, mean + reach)


def paired_by_seed(before: Mapping[int, float], after: Mapping[int, float]) -> Difference | None:
    """Return the paired difference, after - before, over shared seeds; None for fewer than two seeds."""
    seeds = sorted(before.keys() & after.keys())
    if len(seeds) < 2:
        return None
    return paired_difference([before[seed] for seed in seeds], [after[seed] for seed in seeds])


def spread(values: ArrayLike) -> np.ndarray:
    """Return the sample standard deviation over the first axis; 0 for one value."""
    values = np.asarray(values)
    return values.std(0, ddof=min(1, len(values) - 1))


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Format mean and standard deviation, or a single value alone.

    Args:
        values: one or more values.
        digits: digits after the decimal point. Defaults to 1.
    """
    reach = '' if len(values) == 1 else f' ± {spread(values):.{digits}f}'
    return f'{np.mean(values):.{digits}f}{reach}'


def paired_table(pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]]) -> str:
    """Table of the last epoch: mean and standard deviation over the seeds, and the paired difference.

    Args:
        pairs: for each metric the runs of the baseline and of the method, two or more of each, with the same
            seeds in the same order.

    Returns:
        Markdown, with the 95 % interval of the difference by Student's t.

    Raises:
        ValueError: if the numbers of runs differ or are below two.
    """
    titles = 'metric, last epoch', 'seeds', 'baseline', 'method', 'difference, 95 % interval'
    rows = []
    for baseline, method in pairs:
        before, after = ([run.accuracy[-1] for run in runs] for runs in (baseline, method))
        difference = paired_difference(before, after)
        cells = mean_and_spread(before), mean_and_spread(after), difference
        rows.append([baseline[0].metric, len(baseline), *cells])
    return markdown.table(titles, rows)
