"""Tables of a teacher's measures in Markdown, and the recommended reading."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from lfi.utils import markdown

from .tallies import MapTally, PresenceTally

COLUMNS = (
    'map',
    'zero-shot top-1',
    'mean confidence',
    'pointing game',
    'energy',
    'average precision',
    'images/s',
    'peak MB',
)
LABEL_COLUMNS = ('extractor', 'zero-shot top-1', 'mean confidence', 'images/s', 'peak MB')
PRESENCE_TITLE = (
    'Presence of every concept in every annotated image; precision, recall and average precision in %. '
    '"label or ..." is presence as labels raise it in training'
)
PRESENCE_COLUMNS = ('presence', 'precision at 0.5', 'recall at 0.5', 'average precision', 'Brier score')


def row(name: str, scores: dict, found: dict | None = None) -> list[str]:
    """A row of the maps' table, without the cells of an extractor where `found` is None."""
    measures = [f'{100 * mean:.1f} ± {100 * error:.1f}' for mean, error in scores.values()]
    if found is None:
        return [name, '', '', *measures, '', '']
    speed, memory = (
        '' if found[key] is None else f'{found[key]:{form}}'
        for key, form in (('images_per_second', '.1f'), ('megabytes', '.0f'))
    )
    top1 = '' if found['top1'] is None else f'{found["top1"]:.1%}'
    return [name, top1, f'{found["confidence"]:.1%}', *measures, speed, memory]


def table(results: dict) -> str:
    """The table of maps, in Markdown."""
    rows = []
    for extractor, found in results['extractors'].items():
        rows += [row(f'{extractor}, {name}', scores, found) for name, scores in found['maps'].items()]
    rows += [row(name, scores) for name, scores in results['chance'].items()]
    return markdown.table(COLUMNS, rows)


def presence_table(results: dict) -> str:
    """The table of presence, in Markdown."""
    rows = []
    for extractor, found in results['extractors'].items():
        for way, quality in found['presence'].items():
            *rates, brier = quality.values()
            cells = ['none found' if rate is None else f'{100 * rate:.1f}' for rate in rates]
            told = f'image: {found["own_presence"]}' if way == 'image' else way
            rows.append([f'{extractor}, {told}', *cells, f'{brier:.4f}'])
    return markdown.table(PRESENCE_COLUMNS, rows)


def label_table(results: dict, classes: int) -> str:
    """The table of images that have labels alone, in Markdown."""
    rows = []
    for extractor, found in results['extractors'].items():
        top1 = found['label_top1']
        error = (top1 * (1 - top1) / found['labelled']) ** 0.5
        _, _, confidence, *costs = row(extractor, {}, found)
        rows.append([extractor, f'{100 * top1:.1f} ± {100 * error:.1f}', confidence, *costs])
    rows.append(['chance: uniform', f'{100 / classes:.1f}', '', '', ''])
    return markdown.table(LABEL_COLUMNS, rows)


def report_of(results: dict, classes: int) -> str:
    """All that was measured: the tables, the accuracy against the labels, and what to take.

    Args:
        results: as `results.json` has them.
        classes: of how many concepts, the first ones, an image's label is one.
    """
    if 'regions' not in results:
        title = (
            f'{results["images"]} images with labels, and neither boxes nor masks to point at, '
            f'{results["device"]}, batch {results["batch_size"]}; mean ± standard error over images, in %'
        )
        return f'{title}\n\n{label_table(results, classes)}'
    low, high = results['area']
    title = (
        f'{results["images"]} images, {results["regions"]} regions that cover {low:g} to {high:g} '
        f'of their image, {results["device"]}, batch {results["batch_size"]}; mean ± standard error over '
        'regions, in %\n'
    )
    extractors = results['extractors'].items()
    named = [
        f'Zero-shot top-1 of {name}, among the {classes} classes alone, against the labels: '
        f'{found["label_top1"]:.1%}.'
        for name, found in extractors
        if found['label_top1'] is not None
    ]
    recommended = [recommendation(name, found['recommended']) for name, found in extractors]
    presence = f'{PRESENCE_TITLE}\n\n{presence_table(results)}'
    return '\n\n'.join((f'{title}\n{table(results)}', presence, *named, *recommended))


class Choice(TypedDict):
    """An option's value, the second best, and by how much it is ahead of that: mean and standard error."""

    choice: str
    second: str | None
    ahead: list[float] | None


def recommend(located: MapTally, told: PresenceTally) -> dict[str, Choice]:
    """The reading that points best, mean over layers, and the presence of the lowest Brier score."""
    # The higher is chosen.
    errors = {way: -told.errors(way) for way in told.presence}
    return {'spatial_reading': choose(located.pointing()), 'presence': choose(errors)}


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
    units = {'spatial_reading': (100, 'points of the pointing game'), 'presence': (1, 'of the Brier score')}
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
    reading = f'model.supervision.interactions.reading=dict({", ".join(options)})'
    return f'Recommended for {extractor}: {reading}: {"; ".join(reasons)}.'
