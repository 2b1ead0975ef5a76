"""Overview table of all studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from lfi.utils import markdown

from .arms import ARMS
from .paired import mean_and_spread
from .presets import PRESETS, Preset
from .published import PAGE, put_section, read_published
from .runs import metric_name
from .study import Cell, Study

SECTION = 'overview'
"""Name of the section of the table in `research/results.md`."""
# Titles of the studies, in the order of the page.
STUDIES = {
    'shapes': 'Shapes, all labels',
    'shapes-fresh': 'Shapes, all labels, fresh images',
    'shapes-long': 'Shapes, all labels, 20 epochs',
    'shapes-plain': 'Shapes, all labels, plain ViT',
    'tiny-small': 'photos, all labels',
    'tiny-50': 'photos, 50 classes, all labels',
    'tiny-resnet': 'photos, ResNet-18, all labels',
    'shapes-few-10': 'Shapes, 10 labels a class',
    'tiny-few-10': 'photos, 10 labels a class',
    'tiny-resnet-few': 'photos, ResNet-18, 10 labels a class',
    'tiny-few-pretrained': 'photos, pretrained by labels, 10 labels a class',
    'shapes-none': 'Shapes, no label',
    'shapes-none-long': 'Shapes, no label, 20 epochs',
    'tiny-none': 'photos, no label',
    'shapes-pretraining': 'Shapes, pretrained without labels',
    'shapes-detector': 'Shapes, detector',
    'shapes-detector-few': 'Shapes, detector, a tenth of the boxes',
}
TITLES = (
    'study',
    'test metric',
    'seeds',
    'reference',
    'best other baseline',
    "LFI's best negative control",
    'LFI',
    'LFI minus reference',
    'minus best baseline',
    'minus control',
)


def overview_table(studies: Mapping[str, Sequence[Study]]) -> str:
    """Table with a row for each metric of each study that has cells of its reference and its method.

    The best other baseline and the best negative control have the highest mean paired difference from the
    method on the test images, among arms that share all seeds of the method with it, or three. This choice
    after the fact favours them.

    Args:
        studies: studies by title, one for each metric.

    Returns:
        Markdown with means and standard deviations over the seeds, and paired differences with their 95 %
        intervals. '' if no study has a row.
    """
    rows = [row for name, by_metric in studies.items() for study in by_metric for row in _row(name, study)]
    return markdown.table(TITLES, rows) if rows else ''


def publish_overview(root: Path) -> None:
    """Write the table of all published studies to the results page.

    Args:
        root: root of the repository.
    """
    studies = {name: list(published_studies(PRESETS[name], name, root)) for name in STUDIES}
    if table := overview_table({title: studies[name] for name, title in STUDIES.items()}):
        put_section(root / PAGE, SECTION, table)


def published_studies(preset: Preset, name: str, root: Path) -> Iterator[Study]:
    """Yield a study's published numbers, once for each metric that has any."""
    for metric, published in zip(preset.metrics, read_published(preset, name, root)):
        cells: dict[str, list[Cell]] = {}
        for (arm, _, _), cell in published.items():
            cells.setdefault(arm, []).append(cell)
        # Keep the order of the preset: the first arm is the reference.
        ordered = {arm.name: cells[arm.name] for arm in preset.arms if arm.name in cells}
        yield Study(ordered, preset.method, preset.negative_controls, metric=metric_name(metric))


def compared_arms(study: Study) -> tuple[str, str | None, str | None] | None:
    """Return the reference, the best other baseline and the best negative control of a study's method.

    Returns:
        Names of the arms, None for one that the study lacks; None without cells of reference or method.
    """
    if study.method not in study.cells or study.baseline == study.method:
        return None
    baselines = [arm for arm in study.cells if ARMS[arm].kind == 'baseline' and arm != study.baseline]
    controls = [control for control, arm in study.negative_controls.items() if arm == study.method]
    return study.baseline, _best(study, baselines), _best(study, controls)


def _row(name: str, study: Study) -> Iterator[list[str]]:
    arms = compared_arms(study)
    if arms is None:
        return
    (reference, best, control), method = arms, study.method
    yield [
        name,
        str(study.metric),
        str(len(study.cells[method])),
        _entry(study, reference),
        _entry(study, best),
        _entry(study, control),
        mean_and_spread(study.test(method)),
        *(str(study.difference(arm, method) or '–') if arm else '–' for arm in (reference, best, control)),
    ]


def _best(study: Study, arms: Sequence[str]) -> str | None:
    method = study.by_seed(study.method)
    gains: dict[str, float] = {}
    for arm in arms:
        # Compare over shared seeds: seeds differ more than arms.
        differences = [value - method[seed] for seed, value in study.by_seed(arm).items() if seed in method]
        if len(differences) >= min(len(method), len(Preset.seeds)):
            gains[arm] = float(np.mean(differences))
    return max(gains, key=gains.__getitem__, default=None)


def _entry(study: Study, arm: str | None) -> str:
    return '–' if arm is None else f'{mean_and_spread(study.test(arm))} {arm}'
