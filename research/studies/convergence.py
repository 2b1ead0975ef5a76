"""How much sooner a method gets where its baseline ends, by two protocols.

*Same schedule*: the epoch from which a run reaches, and holds to its end, a share of the baseline's best.
*Equal finish*: what the method's complete shorter schedules end with, against the baseline's full one. Curves
under a decaying learning rate rise late whatever the method, so that the first protocol alone can flatter or
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
    """For each threshold, when both reach and hold it, and by how much the method is sooner.

    Args:
        baseline: runs, seed by seed.
        method: runs with the same seeds in the same order, and as many epochs.
        teacher_seconds: what the method spent on the teacher before training, such as writing its cache;
            None where it is not known.
        thresholds: in per cent of the best of the baseline's run with the same seed.
        seeds: of the pairs, where several pairs have one: the interval is then over the seeds. Defaults to a
            seed for each.
        baseline_teacher_seconds: what the baseline spent likewise, where it learns from a teacher too.

    Returns:
        Markdown. A speed-up is the geometric mean of the pairs' ratios, baseline over method, with its 95 %
        interval by Student's t on their logarithms where there are two seeds or more; seconds are those of
        training, validation left out.

    Raises:
        UsageError: if the runs are not pairs of one length.
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
        ours, theirs = (
            [run.epochs_to_hold(target) for run, target in zip(runs, targets)] for runs in (method, baseline)
        )
        cells = [_epochs(theirs), _epochs(ours)]
        held = [
            (before, reached, after, sooner)
            for before, reached, after, sooner in zip(baseline, theirs, method, ours)
            if reached is not None and sooner is not None
        ]
        if len(held) < len(baseline):
            cells += ['–'] * 3
        else:
            spent = [
                (before.seconds_until(reached), after.seconds_until(sooner))
                for before, reached, after, sooner in held
            ]
            cells += [
                _ratio([(reached, sooner) for _, reached, _, sooner in held], seeds),
                _ratio(spent, seeds),
                '–'
                if teacher_seconds is None or baseline_teacher_seconds is None
                else _ratio([(a + baseline_teacher_seconds, b + teacher_seconds) for a, b in spent], seeds),
            ]
        rows.append([f'{threshold:g}', *cells])
    return markdown.table(titles, rows)


def equal_finish_table(baseline: Sequence[Run], short: Sequence[Run]) -> str:
    """What complete schedules of fewer epochs end with, against the baseline's full one.

    Args:
        baseline: runs of the full schedule, seed by seed.
        short: the method's runs; of each number of epochs as many as of the baseline, seed by seed.

    Returns:
        Markdown; differences are those of the pairs, with 95 % intervals where there are two or more.

    Raises:
        UsageError: if there is another number of runs of some length.
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
                'baseline: give as many of both'
            )
        finish = [run.accuracy[-1] for run in runs]
        gain = str(paired_difference(full, finish)) if len(full) > 1 else f'{finish[0] - full[0]:+.1f}'
        rows.append([f'method, {length}', len(finish), mean_and_spread(finish), gain])
    return markdown.table(titles, rows)


def compare_pairs(
    metrics: Sequence[tuple[Sequence[Run], Sequence[Run], Sequence[Run]]], teacher_seconds: float = 0.0
) -> str:
    """All that the runs of a method and its baseline say, with the same seeds in the same order.

    Args:
        metrics: for each metric the baseline's runs, the method's, and its complete shorter schedules.
        teacher_seconds: what was spent on the teacher before training.

    Returns:
        Markdown: a table of the last epochs where there are two seeds or more; then, for each metric, the
        same schedule, and the equal finish where there are shorter schedules; and the seconds of training.

    Raises:
        UsageError: if the runs are not pairs of one length.
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
    unlike = [run for run in runs if run.epochs != runs[0].epochs]
    if len(baseline) != len(method) or unlike:
        which = f'; other validations than {_places(runs[:1])} have {_places(unlike)}'
        raise UsageError(
            f'{len(baseline)} runs of the baseline and {len(method)} of the method, of '
            f'{[run.length for run in runs]} epochs: the same schedule needs as many of both, seed by seed, '
            f'and the same number of epochs{which if unlike else ""}'
        )


def _places(runs: Sequence[Run]) -> str:
    """The folders of runs, or the names of those that have none."""
    return ', '.join(str(run.folder or run.name) for run in runs)


def _epochs(epochs: Sequence[int | None]) -> str:
    held = [epoch for epoch in epochs if epoch is not None]
    return mean_and_spread(held) if len(held) == len(epochs) else f'{len(held)} of {len(epochs)} hold it'


def _ratio(pairs: Sequence[Sequence[float]], seeds: Sequence[int]) -> str:
    """The geometric mean of before / after, with its interval over the seeds; of no time there is none."""
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
