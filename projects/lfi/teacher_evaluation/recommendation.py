"""Which reading of a teacher to take."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from .tallies import MapTally, PresenceTally


class Choice(TypedDict):
    """An option's value, the second best, and by how much it is ahead of that: mean and standard error."""

    choice: str
    second: str | None
    ahead: list[float] | None


def recommend(located: MapTally, told: PresenceTally) -> dict[str, Choice]:
    """The reading that points best, mean over layers, and the presence of the lowest Brier score."""
    # The higher is chosen.
    errors = {way: -told.errors(way) for way in told.presence}
    return {'positions_reading': choose(located.pointing()), 'presence': choose(errors)}


def choose(values: dict[str, np.ndarray]) -> Choice:
    """The first by its mean, and by how much it is before the second: mean and standard error, in pairs."""
    order = sorted(values, key=lambda name: -values[name].mean())
    if len(order) == 1:
        return Choice(choice=order[0], second=None, ahead=None)
    ahead = values[order[0]] - values[order[1]]
    error = float(np.std(ahead, ddof=1) / len(ahead) ** 0.5)
    return Choice(choice=order[0], second=order[1], ahead=[float(ahead.mean()), error])


def recommendation(extractor: str, recommended: dict[str, Choice]) -> str:
    """What to write into the config, and why."""
    options, reasons = [], []
    units = {'positions_reading': (100, 'points of the pointing game'), 'presence': (1, 'of the Brier score')}
    for option, (scale, unit) in units.items():
        found = recommended[option]
        options.append(f'{option}={found["choice"]!r}')
        if found['ahead'] is None:
            reasons.append(f'{found["choice"]!r} is all that these maps have')
            continue
        mean, error = (scale * value for value in found['ahead'])
        beyond = '' if mean > 2 * error else ' (not significantly different)'
        reasons.append(
            f'{found["choice"]!r} is ahead of {found["second"]!r} by {mean:.3g} ± {error:.2g} {unit}{beyond}'
        )
    return f'Recommended for {extractor}: model.reading=dict({", ".join(options)}): {"; ".join(reasons)}.'
