"""How much sooner a method gets where its control ends, by two protocols.

*Same schedule*: the epoch from which a run reaches, and holds to its end, a share of the control's best.
*Equal finish*: what the method's complete shorter schedules end with, against the control's full one. Curves
under a decaying learning rate rise late whatever the method, so that the first protocol alone can flatter or
hide a gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from .paired import mean_and_spread, paired_difference
from .runs import Run

THRESHOLDS = (90, 95, 99, 100)


def same_schedule_table(
    control: Sequence[Run],
    method: Sequence[Run],
    teacher_seconds: float | None = 0.0,
    thresholds: Sequence[float] = THRESHOLDS,
    seeds: Sequence[int] | None = None,
) -> str:
    """For each threshold, when both reach and hold it, and by how much the method is sooner.

    Args:
        control: runs, seed by seed.
        method: runs with the same seeds in the same order, and as many epochs.
        teacher_seconds: what was spent on the teacher before training, such as writing its cache; None where
            it is not known.
        thresholds: in per cent of the best of the control's run with the same seed.
        seeds: of the pairs, where several pairs have one: the interval is then over the seeds. Defaults to a
            seed for each.

    Returns:
        Markdown. A speed-up is the geometric mean of the pairs' ratios, control over method, with its 95 %
        interval by Student's t on their logarithms where there are two seeds or more; seconds are those of
        training, validation left out.

    Raises:
        ValueError: if the runs are not pairs of one length.
    """
    _check_pairs(control, method)
    seeds = range(len(control)) if seeds is None else seeds
    lines = [
        "| per cent of the control's best | control, epochs | method, epochs | speed-up in epochs "
        '| in seconds, teacher left out | in seconds, with the teacher |',
        '| --- ' * 6 + '|',
    ]
    for threshold in thresholds:
        targets = [threshold / 100 * run.best for run in control]
        ours, theirs = (
            [run.epochs_to_hold(target) for run, target in zip(runs, targets)] for runs in (method, control)
        )
        cells = [_epochs(theirs), _epochs(ours)]
        held = [(e, n) for e, n in zip(theirs, ours) if e is not None and n is not None]
        if len(held) < len(control):
            cells += ['–'] * 3
        else:
            spent = [
                (before.seconds_until(reached), after.seconds_until(sooner))
                for before, after, (reached, sooner) in zip(control, method, held)
            ]
            cells += [
                _ratio([reached / sooner for reached, sooner in held], seeds),
                _ratio([before / after for before, after in spent], seeds),
                '–'
                if teacher_seconds is None
                else _ratio([before / (after + teacher_seconds) for before, after in spent], seeds),
            ]
        lines.append(f'| {threshold:g} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def equal_finish_table(control: Sequence[Run], short: Sequence[Run]) -> str:
    """What complete schedules of fewer epochs end with, against the control's full one.

    Args:
        control: runs of the full schedule, seed by seed.
        short: the method's runs; of each number of epochs as many as of the control, seed by seed.

    Returns:
        Markdown; differences are those of the pairs, with 95 % intervals where there are two or more.

    Raises:
        ValueError: if there is another number of runs of some length.
    """
    full = [run.accuracy[-1] for run in control]
    lines = [
        f"| complete schedule, epochs | seeds | {control[0].metric}, last epoch | minus the control's "
        f'{control[0].length} epochs |',
        '| --- ' * 4 + '|',
        f'| control, {control[0].length} | {len(full)} | {mean_and_spread(full)} | – |',
    ]
    by_length = sorted(short, key=lambda run: run.length)
    for length, group in groupby(by_length, key=lambda run: run.length):
        finish = [run.accuracy[-1] for run in group]
        if len(finish) != len(full):
            raise ValueError(
                f'{len(finish)} short runs of {length} epochs and {len(full)} of the control: '
                'give as many of both'
            )
        gain = str(paired_difference(full, finish)) if len(full) > 1 else f'{finish[0] - full[0]:+.1f}'
        lines.append(f'| method, {length} | {len(finish)} | {mean_and_spread(finish)} | {gain} |')
    return '\n'.join(lines)


def _check_pairs(control: Sequence[Run], method: Sequence[Run]) -> None:
    lengths = [run.length for run in (*control, *method)]
    if len(control) != len(method) or len({run.epochs for run in (*control, *method)}) != 1:
        raise ValueError(
            f'{len(control)} runs of the control and {len(method)} of the method, of {lengths} epochs: '
            'the same schedule needs as many of both, seed by seed, and the same number of epochs'
        )


def _epochs(epochs: Sequence[int | None]) -> str:
    held = [epoch for epoch in epochs if epoch is not None]
    return mean_and_spread(held) if len(held) == len(epochs) else f'{len(held)} of {len(epochs)} hold it'


def _ratio(values: Sequence[float], seeds: Sequence[int]) -> str:
    by_seed: dict[int, list[float]] = {}
    for seed, value in zip(seeds, np.log(values)):
        by_seed.setdefault(seed, []).append(value)
    means = [float(np.mean(logs)) for logs in by_seed.values()]
    if len(means) == 1:
        return f'{np.exp(means[0]):.2f}'
    mean, low, high = np.exp(paired_difference([0.0] * len(means), means))
    return f'{mean:.2f} ({low:.2f} to {high:.2f})'
