"""Forest plots: by how much LFI is ahead of the reference, the best baseline and a negative control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
from lfi.utils.matplotlib_settings import default_style, save_figure
from matplotlib.figure import Figure

from .figure_style import COLOURS, MARKERS, PAPER_AND_INK, style_axes
from .overview import STUDIES, compared_arms, published_studies
from .presets import PRESETS
from .study import Study

FOLDER = Path('docs/images')
QUESTIONS = {
    'summary': ('tiny-few-10', 'tiny-none', 'tiny-small', 'shapes-few-10', 'shapes'),
    'few-labels': (
        'tiny-few-5',
        'tiny-few-10',
        'tiny-few-25',
        'tiny-resnet-few',
        'tiny-few-pretrained',
        'shapes-few-5',
        'shapes-few-10',
        'shapes-few-25',
    ),
    'no-label': ('tiny-none', 'shapes-none', 'shapes-none-long'),
    'all-labels': ('tiny-small', 'tiny-50', 'tiny-resnet', 'shapes', 'shapes-fresh', 'shapes-long'),
    'pretraining': ('shapes-pretraining',),
    'detection': ('shapes-detector-few', 'shapes-detector'),
}
"""Studies of each figure, by the name of its files."""
TITLES = {
    **STUDIES,
    'tiny-few-5': 'photos, 5 labels a class',
    'tiny-few-25': 'photos, 25 labels a class',
    'shapes-few-5': 'Shapes, 5 labels a class',
    'shapes-few-25': 'Shapes, 25 labels a class',
}
METRICS = {'top-1': 'tuned with 10 labels a class'}
"""Metrics of a pretraining whose name does not say how a pretrained backbone predicts."""
KINDS = ('reference', 'best other baseline', 'best negative control')


@default_style()
def draw_forest(studies: Mapping[str, Sequence[Study]], theme: str) -> Figure:
    """Draw the differences of the method from three arms, with 95 % intervals over the seeds.

    Args:
        studies: studies by title, one for each metric.
        theme: 'light' or 'dark'.
    """
    rows = [
        (_label(title, study, len(by_metric) > 1), study, arms)
        for title, by_metric in studies.items()
        for study in by_metric
        if (arms := compared_arms(study)) is not None
    ]
    paper, ink = PAPER_AND_INK[theme]
    figure = plt.figure(figsize=(8, 0.75 * len(rows) + 1.3), layout='constrained', facecolor=paper)
    axes = figure.subplots()
    handles: dict[int, Any] = {}
    for row, (_, study, arms) in enumerate(rows):
        for kind, (arm, colour) in enumerate(zip(arms, COLOURS)):
            if arm is None or (difference := study.difference(arm, study.method)) is None:
                continue
            y = row + 0.25 * (kind - 1)
            reach = [[difference.mean - difference.low], [difference.high - difference.mean]]
            style: dict = dict(fmt=MARKERS[kind], color=colour, capsize=3, markersize=5)
            handles[kind] = axes.errorbar(difference.mean, y, xerr=reach, **style)
            axes.annotate(
                f'{difference.mean:+.1f} {arm}{_fewer_seeds(study, arm)}',
                (difference.high, y),
                xytext=(5, 0),
                textcoords='offset points',
                fontsize=7,
                color=ink,
                va='center',
                # Above the line at zero.
                bbox=dict(facecolor=paper, edgecolor='none', pad=1),
            )
    axes.axvline(0, color=ink, linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    # Room for the names at the right of the last interval.
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.28 * (high - low))
    axes.set_xlabel('points by which LFI is ahead, and 95 % interval')
    style_axes(axes, theme)
    order = sorted(handles)
    figure.legend(
        [handles[kind] for kind in order],
        [f'minus {KINDS[kind]}' for kind in order],
        loc='outside upper center',
        ncols=3,
        frameon=False,
        fontsize=8,
        labelcolor=ink,
    )
    return figure


def _label(title: str, study: Study, has_others: bool) -> str:
    """Return the label of a row: the study, its metric if it has others, and the method's own value."""
    name = study.metric or ''
    metric = f', {METRICS.get(name, name)}' if has_others else ''
    values = study.test(study.method)
    return f'{title}{metric}\nLFI {mean(values):.1f}, {len(values)} seeds'


def _fewer_seeds(study: Study, arm: str) -> str:
    """Return the number of seeds that an arm shares with the method, '' if it has all of them."""
    shared = study.by_seed(arm).keys() & study.by_seed(study.method).keys()
    return '' if len(shared) == len(study.test(study.method)) else f', {len(shared)} seeds'


def publish_forests(root: Path) -> None:
    """Draw the published numbers of each question.

    Args:
        root: root of the repository.
    """
    for question, names in QUESTIONS.items():
        studies = {TITLES[name]: list(published_studies(PRESETS[name], name, root)) for name in names}
        if all(compared_arms(study) is None for by_metric in studies.values() for study in by_metric):
            continue
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        # Only the README has a dark page.
        for theme in PAPER_AND_INK if question == 'summary' else ('light',):
            file = root / FOLDER / f'evidence-{question}-{theme}.png'
            save_figure(draw_forest(studies, theme), file, dpi=110)
