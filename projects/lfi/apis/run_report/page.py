"""HTML of a run's report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from lfi.concepts.names import class_name
from lfi.visualization.history_figure import draw_confusion, draw_history
from lfi.visualization.html_page import figure_html, picture_html, table_html

from .advice import Advice
from .confusion import Confusion
from .examples import Example
from .history import History

MAX_DRAWN_CLASSES = 20
"""Largest number of classes of a drawn confusion matrix."""
LISTED = 15
"""Largest number of confusions in the list."""
MAX_COLUMNS, MAX_ROWS = 6, 20
"""Largest numbers of metrics and of validations in the table."""


def section(title: str, parts: Iterable[str]) -> str:
    """Build a section from parts in HTML."""
    return f'<h2>{escape(title)}</h2>\n{"".join(parts)}'


def paragraph(text: str) -> str:
    """Build a paragraph from a text."""
    return f'<p>{escape(text)}</p>\n'


def facts_html(facts: Mapping[str, object]) -> str:
    """Build the table of what was run; unknown facts are left out."""
    return table_html((), [item for item in facts.items() if item[1] not in (None, '')])


def history_html(history: History) -> str:
    """Build the curves, and the table of all validations."""
    if not history.losses and not history.metrics:
        return paragraph('Left out: the folder of the run has no scalars in */vis_data/scalars.json.')
    titles = {'training loss': history.losses, 'validation': _of_similar_size(history.metrics)}
    groups = {title: curves for title, curves in titles.items() if curves}
    parts = [figure_html(draw_history(groups, history.unit), 'Curves of losses and validation metrics')]
    if not history.metrics:
        return ''.join(
            [
                *parts,
                paragraph(
                    'Metrics are left out: no validation logged one. A detector that finds nothing has none.'
                ),
            ]
        )
    steps = sorted({step for curve in history.metrics.values() for step in curve})
    names = list(history.metrics)[:MAX_COLUMNS]
    rows = [
        [
            step,
            *(
                f'{history.metrics[name][step]:.4g}' if step in history.metrics[name] else ''
                for name in names
            ),
        ]
        for step in steps[-MAX_ROWS:]
    ]
    return ''.join([*parts, table_html([history.unit, *names], rows)])


def _of_similar_size(metrics: Mapping) -> dict:
    """Return the first metric, and those of its order of magnitude, which share its axis."""
    # COCO's metrics are -1 where no object has the size.
    sizes = {name: max(curve.values()) for name, curve in metrics.items()}
    first, largest = next(iter(sizes.items()), ('', 0))
    similar = (name for name, size in sizes.items() if name == first or largest <= 20 * size <= 400 * largest)
    return {name: metrics[name] for name in similar}


def examples_html(examples: Iterable[Example], no_maps: str | None) -> str:
    """Build the pictures, and why they have no maps."""
    parts = [picture_html(example.picture, example.caption) for example in examples]
    if not parts:
        return paragraph('Left out: no image can be read.')
    reason = 'A map shows where the student sees a text; its presence is in the title.'
    if no_maps is not None:
        reason = f'Maps of texts are left out: {no_maps}'
    return ''.join([paragraph(reason), *parts])


def confusion_html(confusion: Confusion, kind: str, classes: Sequence[str]) -> str:
    """Build a classifier's confusion matrix, or the list of its most frequent confusions."""
    total, right = confusion.num_images, confusion.num_right
    text = f'{right} of {total} {kind} images are right ({right / total:.1%}).{_chosen(confusion)}'
    parts = [paragraph(text)]
    if len(classes) <= MAX_DRAWN_CLASSES:
        parts.append(figure_html(draw_confusion(confusion.pairs, classes), 'Confusion matrix'))
    truths = confusion.truths
    rows = [
        (class_name(classes, truth), class_name(classes, prediction), f'{count} of {truths[truth]}')
        for (truth, prediction), count in confusion.mistakes()[:LISTED]
    ]
    return ''.join([*parts, table_html(['truth', 'predicted', 'images'], rows) if rows else ''])


def _chosen(confusion: Confusion) -> str:
    all_images = confusion.num_images == confusion.num_available
    return '' if all_images else f' A fixed seed chose them from {confusion.num_available:,}.'


def iou_html(confusion: Confusion, kind: str, classes: Sequence[str]) -> str:
    """Build the table of a segmentor's IoU by class, the lowest first."""
    rows = sorted(confusion.iou().items(), key=lambda item: item[1])
    text = f'Intersection over union by class, on {confusion.num_images} {kind} images.{_chosen(confusion)}'
    table = table_html(['class', 'IoU'], [(class_name(classes, c), f'{value:.1%}') for c, value in rows])
    return paragraph(text) + table


def precision_html(history: History, classes: Sequence[str]) -> str:
    """Build the table of a detector's AP by class, if its metrics have it."""
    values = {}
    for name, curve in history.metrics.items():
        found = name.rpartition('/')[2].removesuffix('_precision')
        if name.endswith('_precision') and found in classes:
            values[found] = [*curve.values()][-1]
    if not values:
        return paragraph('Left out: the log has no AP by class; val_evaluator.classwise=True logs it.')
    rows = sorted(values.items(), key=lambda item: item[1])
    return paragraph('Average precision by class at the last validation.') + table_html(
        ['class', 'AP'], [(name, f'{value:.3f}') for name, value in rows]
    )


def advice_html(advice: Iterable[Advice]) -> str:
    """Build observations with their commands."""
    return ''.join(
        paragraph(item.text) + (f'<pre>{escape(item.command)}</pre>\n' if item.command else '')
        for item in advice
    )
