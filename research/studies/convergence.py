"""Speed-up of a method over its baseline, by two protocols.

*Same schedule*: the epoch from which a run reaches, and holds to its end, a share of the baseline's best.
*Equal finish*: the results of complete shorter schedules of the method, against the baseline's full one.
Curves under a decaying learning rate rise late for any method, so the first protocol alone can exaggerate or
hide a gain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from lfi.errors import UsageError
from lfi.utils import markdown

from .paired import mean_and_spread, paired_difference, paired_table
from .runs import Run

THRESHOLDS = (90, 95, 99, 100)


def same_schedule_table(
    baseline: Sequence[Run],
    method: Sequence[Run],
    teacher_seconds: float | None = 0.0,
    thresholds: Sequence[float] = THRESHOLDS,
    seeds: Sequence[int] | None = None,
    baseline_teacher_seconds: float | None = 0.0,
) -> str:
    """Table of the epochs at which both hold each threshold, and of the speed-up of the method.

    Args:
        baseline: runs of the baseline, seed by seed.
        method: runs of the method, with the same seeds, order and epochs.
        teacher_seconds: seconds that the method spent on the teacher before training, such as writing its
            cache. None: unknown. Defaults to 0.
        thresholds: per cent of the best of the baseline's run with the same seed. Defaults to `THRESHOLDS`.
        seeds: seed of each pair; pairs with equal seeds count as one sample. Defaults to one seed per pair.
        baseline_teacher_seconds: seconds that the baseline spent on a teacher. None: unknown. Defaults to 0.

    Returns:
        Markdown. A speed-up is the geometric mean of the pairs' ratios, baseline over method, with its 95 %
        interval by Student's t on their logarithms if there are two seeds or more. Seconds are those of
        training, without validation.

    Raises:
        UsageError: if the runs do not pair up or differ in their epochs.
    """
    _check_pairs(baseline, method)
    seeds = range(len(baseline)) if seeds is None else seeds
    titles = (
        "per cent of the baseline's best",
        'baseline, epochs',
        'method, epochs',
        'speed-up in epochs',
        'in seconds of training',
        'in seconds, with what the teacher took before',
    )
    rows = []
    for threshold in thresholds:
        targets = [threshold / 100 * run.best for run in baseline]
        method_epochs, baseline_epochs = (
            [run.epochs_to_hold(target) for run, target in zip(runs, targets)] for runs in (method, baseline)
        )
        cells = [_epochs(baseline_epochs), _epochs(method_epochs)]
        epochs = [
            (before, after)
            for before, after in zip(baseline_epochs, method_epochs)
            if before is not None and after is not None
        ]
        if len(epochs) < len(baseline):
            cells += ['–'] * 3
        else:
            seconds = [
                (baseline_run.seconds_until(before), method_run.seconds_until(after))
                for baseline_run, method_run, (before, after) in zip(baseline, method, epochs)
            ]
            cells += [
                _ratio(epochs, seeds),
                _ratio(seconds, seeds),
                '–'
                if teacher_seconds is None or baseline_teacher_seconds is None
                else _ratio([(a + baseline_teacher_seconds, b + teacher_seconds) for a, b in seconds], seeds),
            ]
        rows.append([f'{threshold:g}', *cells])
    return markdown.table(titles, rows)


def equal_finish_table(baseline: Sequence[Run], short: Sequence[Run]) -> str:
    """Table of the last epochs of complete shorter schedules, against the baseline's full schedule.

    Args:
        baseline: runs of the full schedule, seed by seed.
        short: runs of the method; for each number of epochs one run per run of the baseline, seed by seed.

    Returns:
        Markdown, with paired differences and, for two pairs or more, their 95 % intervals.

    Raises:
        UsageError: if a length does not have as many runs as the baseline.
    """
    full = [run.accuracy[-1] for run in baseline]
    longest = baseline[0].length
    titles = (
        'complete schedule, epochs',
        'seeds',
        f'{baseline[0].metric}, last epoch',
        f"minus the baseline's {longest} epochs",
    )
    rows = [[f'baseline, {longest}', len(full), mean_and_spread(full), '–']]
    by_length = sorted(short, key=lambda run: run.length)
    for length, group in groupby(by_length, key=lambda run: run.length):
        runs = list(group)
        if len(runs) != len(full):
            raise UsageError(
                f'{len(runs)} short runs of {length} epochs, {_places(runs)}, and {len(full)} of the '
                'baseline: give the same number of both'
            )
        finish = [run.accuracy[-1] for run in runs]
        gain = str(paired_difference(full, finish)) if len(full) > 1 else f'{finish[0] - full[0]:+.1f}'
        rows.append([f'method, {length}', len(finish), mean_and_spread(finish), gain])
    return markdown.table(titles, rows)


def compare_pairs(
    metrics: Sequence[tuple[Sequence[Run], Sequence[Run], Sequence[Run]]], teacher_seconds: float = 0.0
) -> str:
    """Report on a method and its baseline, run with the same seeds in the same order.

    Args:
        metrics: for each metric the runs of the baseline, of the method, and of its shorter schedules.
        teacher_seconds: seconds spent on the teacher before training. Defaults to 0.

    Returns:
        Markdown: the last epochs if there are two seeds or more; for each metric the same schedule, and the
        equal finish if there are shorter schedules; and the seconds of training.

    Raises:
        UsageError: if the runs do not pair up or differ in their epochs.
    """
    baseline, method, _ = metrics[0]
    parts = []
    if len(baseline) > 1:
        parts.append(paired_table([(before, after) for before, after, _ in metrics]))
    for before, after, short in metrics:
        parts += [f'{before[0].metric}, same schedule:', same_schedule_table(before, after, teacher_seconds)]
        if short:
            parts += [f'{before[0].metric}, equal finish:', equal_finish_table(before, short)]
    for name, runs in (('baseline', baseline), ('method', method)):
        parts.append(f'Training seconds of the {name}: {", ".join(f"{run.seconds:.0f}" for run in runs)}')
    return '\n\n'.join(parts)


def _check_pairs(baseline: Sequence[Run], method: Sequence[Run]) -> None:
    runs = [*baseline, *method]
    different = [run for run in runs if run.epochs != runs[0].epochs]
    if len(baseline) != len(method) or different:
        places = f'; the validations of {_places(different)} differ from those of {_places(runs[:1])}'
        raise UsageError(
            f'{len(baseline)} runs of the baseline and {len(method)} of the method, of '
            f'{[run.length for run in runs]} epochs: the same schedule needs as many of both, seed by seed, '
            f'and the same number of epochs{places if different else ""}'
        )


def _places(runs: Sequence[Run]) -> str:
    """Folders of runs, or their names if they have no folder."""
    return ', '.join(str(run.folder or run.name) for run in runs)


def _epochs(epochs: Sequence[int | None]) -> str:
    held = [epoch for epoch in epochs if epoch is not None]
    return mean_and_spread(held) if len(held) == len(epochs) else f'{len(held)} of {len(epochs)} hold it'


def _ratio(pairs: Sequence[Sequence[float]], seeds: Sequence[int]) -> str:
    """Geometric mean of before / after with its interval over the seeds; '–' if a value is not positive."""
    if not all(before > 0 and after > 0 for before, after in pairs):
        return '–'
    by_seed: dict[int, list[float]] = {}
    for seed, (before, after) in zip(seeds, pairs):
        by_seed.setdefault(seed, []).append(math.log(before / after))
    means = [float(np.mean(logs)) for logs in by_seed.values()]
    if len(means) == 1:
        return f'{np.exp(means[0]):.2f}'
    mean, low, high = np.exp(paired_difference([0.0] * len(means), means))
    return f'{mean:.2f} ({low:.2f} to {high:.2f})'
