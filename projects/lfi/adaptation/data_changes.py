"""What an overlay says of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .pipelines import Pipeline
from .source import Expression


@dataclass
class DataChanges:
    """What an overlay says of data, and why.

    Args:
        variables: by their names, in the order of the file.
        words: a line for each change.
        why_online: why no cache can be read; None where one can.
        divisor: to multiples of how many pixels the data preprocessor must pad; 1 if it need not.
        pad_value: what it must pad with, after it has normalised; None where it pads with that already.
        turned: whether images that were RGB are BGR now, so that the data preprocessor must turn them.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    words: list[tuple[str, str]] = field(default_factory=list)
    why_online: str | None = None
    divisor: int = 1
    pad_value: float | None = None
    turned: bool = False

    def share(self, name: str, pipeline: Pipeline) -> Expression:
        """A variable that holds a pipeline; pipelines that are equal share one."""
        for known, value in self.variables.items():
            if value == pipeline:
                return Expression(known)
        names = (f'{name}_{n}' if n > 1 else name for n in range(1, len(self.variables) + 2))
        free = next(each for each in names if each not in self.variables)
        self.variables[free] = pipeline
        return Expression(free)

    def with_variables(self, name: str, value: Any) -> Any:
        """A value whose pipelines stand in variables."""
        if isinstance(value, Mapping):
            return {
                key: self.share(name, item)
                if key == 'pipeline' and isinstance(item, list)
                else self.with_variables(name, item)
                for key, item in value.items()
            }
        return [self.with_variables(name, item) for item in value] if isinstance(value, list) else value
