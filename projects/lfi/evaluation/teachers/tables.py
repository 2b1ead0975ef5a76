"""Markdown tables of a teacher's measures, and the recommended reading."""

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
PRESENCE_COLUMNS = (
    'presence',
    'precision at 0.5',
    'recall at 0.5',
    'average precision',
    'Brier score',
    'calibration error',
)


def row(name: str, scores: dict, results: dict | None = None) -> list[str]:
    """Return a row of the table of maps; without `results`, the cells of the extractor are empty."""
    measures = [f'{100 * mean:.1f} ± {100 * error:.1f}' for mean, error in scores.values()]
    if results is None:
        return [name, '', '', *measures, '', '']
    speed, memory = (
        '' if results[key] is None else f'{results[key]:{spec}}'
        for key, spec in (('images_per_second', '.1f'), ('megabytes', '.0f'))
    )
    top1 = '' if results['top1'] is None else f'{results["top1"]:.1%}'
    return [name, top1, f'{results["confidence"]:.1%}', *measures, speed, memory]


def map_table(results: dict) -> str:
    """Return the table of maps in Markdown."""
    rows = []
    for extractor, entry in results['extractors'].items():
        rows += [row(f'{extractor}, {name}', scores, entry) for name, scores in entry['maps'].items()]
    rows += [row(name, scores) for name, scores in results['chance'].items()]
    return markdown.table(COLUMNS, rows)


def presence_table(results: dict) -> str:
    """Return the table of presence in Markdown."""
    rows = []
    for extractor, entry in results['extractors'].items():
        for reading, quality in entry['presence'].items():
            *rates, brier, calibration = quality.values()
            cells = ['none found' if rate is None else f'{100 * rate:.1f}' for rate in rates]
            name = f'image: {entry["presence_kind"]}' if reading == 'image' else reading
            rows.append([f'{extractor}, {name}', *cells, f'{brier:.4f}', f'{calibration:.4f}'])
    return markdown.table(PRESENCE_COLUMNS, rows)


def label_table(results: dict, num_classes: int) -> str:
    """Return the table for images with labels but no regions, in Markdown."""
    rows = []
    for extractor, entry in results['extractors'].items():
        top1 = entry['label_top1']
        error = (top1 * (1 - top1) / entry['labelled']) ** 0.5
        _, _, confidence, *costs = row(extractor, {}, entry)
        rows.append([extractor, f'{100 * top1:.1f} ± {100 * error:.1f}', confidence, *costs])
    rows.append(['chance: uniform', f'{100 / num_classes:.1f}', '', '', ''])
    return markdown.table(LABEL_COLUMNS, rows)


def format_report(results: dict, num_classes: int) -> str:
    """Format the report: tables, zero-shot accuracy against the labels, and recommendations.

    Args:
        results: content of `results.json`.
        num_classes: number of classes of the labels, the first concepts of the bank.
    """
    if 'regions' not in results:
        title = (
            f'{results["images"]} images with labels, and neither boxes nor masks to point at, '
            f'{results["device"]}, batch {results["batch_size"]}; mean ± standard error over images, in %'
        )
        return f'{title}\n\n{label_table(results, num_classes)}'
    low, high = results['area']
    title = (
        f'{results["images"]} images, {results["regions"]} regions that cover {low:g} to {high:g} '
        f'of their image, {results["device"]}, batch {results["batch_size"]}; mean ± standard error over '
        'regions, in %\n'
    )
    extractors = results['extractors'].items()
    accuracies = [
        f'Zero-shot top-1 of {name}, among the {num_classes} classes alone, against the labels: '
        f'{entry["label_top1"]:.1%}.'
        for name, entry in extractors
        if entry['label_top1'] is not None
    ]
    recommended = [recommendation(name, entry['recommended']) for name, entry in extractors]
    presence = f'{PRESENCE_TITLE}\n\n{presence_table(results)}'
    return '\n\n'.join((f'{title}\n{map_table(results)}', presence, *accuracies, *recommended))


class Choice(TypedDict):
    """Best value of an option, the second best, and the mean and standard error of the difference."""

    choice: str
    second: str | None
    ahead: list[float] | None


def recommend(map_tally: MapTally, presence_tally: PresenceTally) -> dict[str, Choice]:
    """Choose the reading with the best pointing game, mean over layers, and the lowest Brier score."""
    # `choose` takes the highest value.
    errors = {reading: -presence_tally.errors(reading) for reading in presence_tally.presence}
    return {'spatial_reading': choose(map_tally.pointing()), 'presence': choose(errors)}


def choose(values: dict[str, np.ndarray]) -> Choice:
    """Choose the name with the highest mean; compare it with the second best in pairs."""
    order = sorted(values, key=lambda name: -values[name].mean())
    if len(order) == 1:
        return Choice(choice=order[0], second=None, ahead=None)
    ahead = values[order[0]] - values[order[1]]
    error = float(np.std(ahead, ddof=1) / len(ahead) ** 0.5)
    return Choice(choice=order[0], second=order[1], ahead=[float(ahead.mean()), error])


def recommendation(extractor: str, recommended: dict[str, Choice]) -> str:
    """Format the recommended options for the config, with the reasons."""
    options, reasons = [], []
    units = {'spatial_reading': (100, 'points of the pointing game'), 'presence': (1, 'of the Brier score')}
    for option, (scale, unit) in units.items():
        best = recommended[option]
        options.append(f'{option}={best["choice"]!r}')
        if best['ahead'] is None:
            reasons.append(f'{best["choice"]!r} is all that these maps have')
            continue
        mean, error = (scale * value for value in best['ahead'])
        note = '' if mean > 2 * error else ' (not significantly different)'
        reasons.append(
            f'{best["choice"]!r} is ahead of {best["second"]!r} by {mean:.3g} ± {error:.2g} {unit}{note}'
        )
    reading = f'model.supervision.interactions.reading=dict({", ".join(options)})'
    return f'Recommended for {extractor}: {reading}: {"; ".join(reasons)}.'
