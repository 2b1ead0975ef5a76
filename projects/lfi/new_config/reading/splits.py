"""Names of the splits of a data set: one trains, one validates, and others are left out with a note."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

TRAIN = ('train', 'training')
VAL = ('val', 'valid', 'validation', 'dev', 'test')
"""Names of the validation. The first one that a data set has is taken."""


class Splits(NamedTuple):
    """Splits of a data set, by their own names.

    Args:
        train: split that trains; None if there is none.
        val: split that validates; None if there is none.
        notes: notes on splits that are left out, and on a validation by the test split.
    """

    train: str | None
    val: str | None
    notes: tuple[str, ...]


def choose_splits(names: Iterable[str]) -> Splits:
    """Choose the splits for training and validation by their names, in upper or lower case."""
    by_name = {name.lower(): name for name in names}
    train = next((by_name[name] for name in TRAIN if name in by_name), None)
    candidates = [by_name[name] for name in VAL if name in by_name]
    if train is None or not candidates:
        return Splits(train, next(iter(candidates), None), ())
    val, *others = candidates
    notes = tuple(f'the split {name} is left out: {val} validates' for name in others)
    if val.lower() == 'test':
        notes = (f'the split {val} validates, and so chooses the best checkpoint: keep others for a test',)
    return Splits(train, val, notes)
