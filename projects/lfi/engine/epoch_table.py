"""Table of a training with one line an epoch, printed while it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADER_EVERY = 20
"""Lines between two headers."""
MAX_PARTS, MAX_METRICS = 3, 4
"""Largest numbers of loss terms and of metrics in a line."""
MIN_WIDTH = 7
"""Width of the narrowest column in characters."""
SEPARATOR = '  '


class EpochTable:
    """Aligned lines of text. A header comes first, after 20 lines, and where new columns appear.

    Args:
        width: largest width of a line in characters. Columns that do not fit are left out: loss terms first,
            then metrics, but for the first metric.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._losses: list[str] = []
        self._metrics: list[str] = []
        self._columns: list[str] = []
        self._lines_since_header = 0

    def lines(
        self,
        head: Mapping[str, str],
        losses: Mapping[str, float],
        metrics: Mapping[str, float],
        tail: Mapping[str, str],
    ) -> list[str]:
        """Format one line, below its header if one is due.

        Args:
            head: first cells by column, such as epoch and learning rate.
            losses: mean of each loss term, without the total. The largest terms of the first line are shown.
            metrics: validation metrics, the most important first. Empty without a validation.
            tail: last cells by column, such as the seconds.
        """
        self._losses = self._losses or sorted(losses, key=lambda name: -abs(losses[name]))[:MAX_PARTS]
        self._metrics = self._metrics or list(metrics)[:MAX_METRICS]
        numbers = {**losses, **metrics}
        cells = {**head, **{name: number_text(value) for name, value in numbers.items()}, **tail}
        columns = self._fitting([*head], [*tail])
        is_due = columns != self._columns or self._lines_since_header == HEADER_EVERY
        self._columns = columns
        self._lines_since_header = 1 if is_due else self._lines_since_header + 1
        line = self._joined([cells.get(name, '') for name in columns])
        return [self._joined(columns), line] if is_due else [line]

    def _fitting(self, head: list[str], tail: list[str]) -> list[str]:
        losses, metrics = list(self._losses), list(self._metrics)
        while self._length([*head, *losses, *metrics, *tail]) > self.width:
            if losses:
                losses.pop()
            elif len(metrics) > 1:
                metrics.pop()
            else:
                break
        return [*head, *losses, *metrics, *tail]

    def _length(self, names: Sequence[str]) -> int:
        return sum(max(len(name), MIN_WIDTH) + len(SEPARATOR) for name in names)

    def _joined(self, cells: Sequence[str]) -> str:
        widths = [max(len(name), MIN_WIDTH) for name in self._columns]
        return SEPARATOR.join(cell.rjust(width) for cell, width in zip(cells, widths)).rstrip()


def number_text(value: Any) -> str:
    """Format a number with four significant digits; text and others as they are."""
    return f'{value:.4g}' if isinstance(value, int | float) else str(value)
