"""Figure of the cost of a training step, by size of the student."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from lfi.utils.matplotlib_settings import default_style
from matplotlib.figure import Figure

from .figure_style import COLOURS, MARKERS, PAPER_AND_INK, style_axes

NAMES = {
    'vit-128x6': 'ViT, 128 wide, 6 blocks',
    'deit-tiny': 'ViT-Tiny',
    'deit-small': 'ViT-Small',
    'resnet50': 'ResNet-50',
    'base': 'ViT-Base',
}
"""Names of the students, by `--arch` of benchmarks/step.py."""
KINDS = {'cached': 'teacher from a cache', 'online': 'teacher asked in each step'}


@dataclass(frozen=True)
class StepRatio:
    """Time of an LFI step relative to the plain student's.

    Args:
        student: name of the student, with its size and its images.
        parameters: number of parameters of the plain backbone.
        kind: one of `KINDS`.
        ratio: median over pairs of steps.
        low: first quartile.
        high: third quartile.
        machine: machine that was measured.
    """

    student: str
    parameters: int
    kind: str
    ratio: float
    low: float
    high: float
    machine: str


def read_ratios(file: Path) -> list[StepRatio]:
    """Read the CSV file that `benchmarks/step.py --csv` writes."""
    with file.open(newline='') as lines:
        return [_ratio(row) for row in csv.DictReader(lines)]


def _ratio(row: dict[str, str]) -> StepRatio:
    parameters = int(row['parameters'])
    lines = (
        NAMES.get(row['arch'], row['arch']),
        f'{parameters / 1e6:.1f} M parameters, {row["image_size"]} px',
        f'{row["concepts"]} concepts, teacher {row["teacher"]}',
    )
    return StepRatio(
        '\n'.join(lines),
        parameters,
        row['step'],
        float(row['ratio']),
        float(row['low']),
        float(row['high']),
        row['machine'],
    )


@default_style()
def draw_speed(ratios: Sequence[StepRatio], theme: str = 'light') -> Figure:
    """Draw the ratios of all students, the smallest student at the top.

    Args:
        ratios: ratios of students whose teacher is cached or asked in each step.
        theme: 'light' or 'dark'. Defaults to 'light'.
    """
    students = list(dict.fromkeys(r.student for r in sorted(ratios, key=lambda ratio: ratio.parameters)))
    paper, ink = PAPER_AND_INK[theme]
    figure = plt.figure(figsize=(8, 0.8 * len(students) + 1.5), layout='constrained', facecolor=paper)
    axes = figure.subplots()
    for place, (kind, label) in enumerate(KINDS.items()):
        drawn = [ratio for ratio in ratios if ratio.kind == kind]
        if not drawn:
            continue
        middles = [ratio.ratio for ratio in drawn]
        rows = [students.index(ratio.student) + 0.3 * (place - 0.5) for ratio in drawn]
        reach = [[r.ratio - r.low for r in drawn], [r.high - r.ratio for r in drawn]]
        style: dict = dict(fmt=MARKERS[place], color=COLOURS[place], capsize=3, markersize=5)
        axes.errorbar(middles, rows, xerr=reach, label=label, **style)
        for ratio, row in zip(drawn, rows):
            axes.annotate(
                f'{ratio.ratio:.2f}',
                (ratio.high, row),
                xytext=(5, 0),
                textcoords='offset points',
                fontsize=8,
                color=ink,
                va='center',
            )
    axes.axvline(1, color=ink, linewidth=1)
    axes.set_yticks(range(len(students)), students, fontsize=8)
    axes.set_ylim(len(students) - 0.45, -0.55)
    machines = '; '.join(dict.fromkeys(ratio.machine for ratio in ratios))
    axes.set_xlabel(
        f"time of a training step, as a multiple of the plain student's: median and quartiles\n{machines}",
        fontsize=9,
    )
    style_axes(axes, theme)
    figure.legend(loc='outside upper center', ncols=2, frameon=False, fontsize=9, labelcolor=ink)
    return figure
