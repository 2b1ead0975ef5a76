"""Row of the report on faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Row of the report: the fault, how it was made, the number of tries, its effect, and the lost work."""

    fault: str
    method: str
    tries: int
    effect: str
    lost: str = 'nothing'

    def __str__(self) -> str:
        return f'| {self.fault} | {self.method} | {self.tries} | {self.effect} | {self.lost} |'
