"""Where the numbers of a study are published, and which of its cells are known from there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .domains import DomainStudy, read_domain_cells
from .grid import Job
from .presets import Preset
from .runs import metric_name
from .study import Cell, Key, Study, read_cells


def file_of(preset: Preset, name: str, metric: str, folder: Path) -> Path:
    """The file with all numbers of a metric; the only one, or the validated one, needs no name in it."""
    named = len(preset.metrics) > 1 and metric != preset.validation
    stem = f'{name}-{metric.replace("/", "-")}' if named else name
    return folder / f'{stem}.{"json" if preset.leaves_domains_out else "csv"}'


def read_published(preset: Preset, name: str, docs: Path | None) -> list[dict[Key, Cell]]:
    """The cells that are published, for each metric of the study.

    Args:
        preset: the study.
        name: of the study.
        docs: the folder whose `results/` has them; None where nothing is published.
    """
    if docs is None:
        return [{} for _ in preset.metrics]
    files = [file_of(preset, name, metric, docs / 'results') for metric in preset.metrics]
    return [
        {}
        if not file.exists()
        else read_domain_cells(file)
        if preset.leaves_domains_out
        else read_cells(file, metric_name(preset.validation or metric))
        for file, metric in zip(files, preset.metrics)
    ]


def is_published(job: Job, published: Sequence[dict[Key, Cell]]) -> bool:
    """Whether each metric's file holds the job's cell, run with the same settings."""
    known = [cells.get(job.key) for cells in published]
    return bool(known) and all(cell is not None and cell.identity == job.identity for cell in known)


def dropped(jobs: Sequence[Job], published: Sequence[dict[Key, Cell]]) -> list[str]:
    """The published cells that were run with other settings than today's, by name."""
    today = {job.key: job.identity for job in jobs}
    cells = {key: cell for known in published for key, cell in known.items()}
    return [
        f'{arm}{f", {domain} left out" if domain else ""}, seed {seed}'
        for (arm, seed, domain), cell in cells.items()
        if today.get((arm, seed, domain)) != cell.identity
    ]


def write_study(study: Study | DomainStudy, file: Path) -> None:
    """Write all numbers of a study, and, of one without domains, its plot beside them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(study, DomainStudy):
        file.write_text(json.dumps(study.content(), indent=1))
        return
    study.write_csv(file)
    from .study_figure import draw_study

    draw_study(study).savefig(file.with_suffix('.png'), dpi=100)


def put_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between a page's marks of this name.

    Args:
        path: of the page. One without the marks is left alone.
        name: of the section.
        text: that stands there from now on.
    """
    begin, end = f'<!-- reproduce: {name} -->\n', f'<!-- end of {name} -->'
    page = path.read_text() if path.exists() else ''
    if begin in page and end in page:
        before, rest = page.split(begin, 1)
        path.write_text(f'{before}{begin}\n{text}\n\n{end}{rest.split(end, 1)[1]}')
