"""A method against its control over several seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from .runs import Run


def paired_table(pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]]) -> str:
    """A table of what the last epoch gives: mean and standard deviation over the seeds, and the difference.

    Args:
        pairs: for each metric the control's runs and the method's, at least two of each, the i-th of both
            with the same seed.

    Returns:
        Markdown; the difference is that of the pairs, with its 95 % interval by Student's t.

    Raises:
        ValueError: if the numbers of runs differ, or are below two.
    """
    lines = [
        '| metric, last epoch | seeds | control | method | difference, 95 % interval |',
        '| --- | --- | --- | --- | --- |',
    ]
    for control, method in pairs:
        if len(control) != len(method) or len(control) < 2:
            raise ValueError(
                f'{len(control)} runs of the control and {len(method)} of the method: there must be as many '
                'of both, with the same seeds, and two or more'
            )
        before, after = (np.array([run.accuracy[-1] for run in runs]) for runs in (control, method))
        difference = after - before
        mean = difference.mean()
        reach = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
        lines.append(
            f'| {control[0].metric} | {len(control)} | {_spread(before)} | {_spread(after)} '
            f'| {mean:+.1f} ({mean - reach:+.1f} to {mean + reach:+.1f}) |'
        )
    return '\n'.join(lines)


def _spread(values: np.ndarray) -> str:
    return f'{values.mean():.1f} ± {values.std(ddof=1):.1f}'
