"""What is reported of a fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row of the report."""

    fault: str
    made: str
    tried: int
    happened: str
    lost: str = 'nothing'

    def __str__(self) -> str:
        return f'| {self.fault} | {self.made} | {self.tried} | {self.happened} | {self.lost} |'
