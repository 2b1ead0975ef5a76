"""Published files of the studies, and checks of their cells."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.matplotlib_settings import save_figure

from .domains import DomainStudy, read_domain_cells
from .job import Job
from .localization_table import Localization, read_localization
from .presets import Preset
from .runs import metric_name
from .study import Cell, Key, Study, read_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FOLDER, PAGE = Path('research/published'), Path('research/results.md')
"""Folder of the published numbers and figures, and page of their tables, below the root of the repository."""


def file_of(preset: Preset, name: str, metric: str, folder: Path) -> Path:
    """Return the file of a metric; names of the only metric and of the validation metric are left out."""
    with_metric = len(preset.metrics) > 1 and metric != preset.validation
    stem = f'{name}-{metric.replace("/", "-")}' if with_metric else name
    return folder / f'{stem}.{"json" if preset.leaves_domains_out else "csv"}'


def read_published(preset: Preset, name: str, root: Path | None) -> list[dict[Key, Cell]]:
    """Read the published cells for each metric of a study.

    Args:
        preset: the study.
        name: name of the study.
        root: root of the repository. None: nothing is published.
    """
    if root is None:
        return [{} for _ in preset.metrics]
    files = [file_of(preset, name, metric, root / FOLDER) for metric in preset.metrics]
    return [
        {}
        if not file.exists()
        else read_domain_cells(file)
        if preset.leaves_domains_out
        else read_cells(file, metric_name(preset.validation or metric))
        for file, metric in zip(files, preset.metrics)
    ]


def localization_file(name: str, folder: Path) -> Path:
    """Return the file of the localization of a study."""
    return folder / f'{name}_localization.csv'


def read_published_localization(name: str, root: Path | None) -> dict[Key, Localization]:
    """Read the published localization of a study; empty if `root` is None."""
    return {} if root is None else read_localization(localization_file(name, root / FOLDER))


def is_published(
    job: Job, published: Sequence[Mapping[Key, Cell]], localization: Mapping[Key, Localization]
) -> bool:
    """Whether all published files of a job hold its cell with the same settings.

    Args:
        job: the cell.
        published: published cells for each metric.
        localization: published localization, checked for jobs that measure it.
    """
    cells: list[Cell | Localization | None] = [by_key.get(job.key) for by_key in published]
    if job.measures_localization:
        cells.append(localization.get(job.key))
    return bool(cells) and all(cell is not None and cell.identity == job.identity for cell in cells)


def stale_cells(
    jobs: Sequence[Job],
    published: Sequence[Mapping[Key, Cell]],
    localization: Mapping[Key, Localization],
) -> list[str]:
    """Return the names of the published cells whose settings differ from those of the jobs."""
    tables: list[Mapping[Key, Cell] | Mapping[Key, Localization]] = [*published, localization]
    keys = {key for cells in tables for key in cells}
    identities = {job.key: job.identity for job in jobs if job.key in keys}
    stale = (key for cells in tables for key, cell in cells.items() if identities.get(key) != cell.identity)
    return [
        f'{arm}{f", {domain} left out" if domain else ""}, seed {seed}'
        for arm, seed, domain in dict.fromkeys(stale)
    ]


def write_study(study: Study | DomainStudy, file: Path) -> None:
    """Write all numbers of a study, with a plot for studies without domains."""
    if isinstance(study, DomainStudy):
        AtomicLocalBackend().put_text(json.dumps(study.content(), indent=1), file)
        return
    study.write_csv(file)
    from .study_figure import draw_study

    put_figure(draw_study(study), file.with_suffix('.png'))


def put_figure(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file atomically."""
    picture = io.BytesIO()
    save_figure(figure, picture, format='png', dpi=100)
    AtomicLocalBackend().put(picture.getvalue(), file)


def begin_mark(name: str) -> str:
    """Return the line that begins a section of a page."""
    return f'<!-- reproduce: {name} -->'


def end_mark(name: str) -> str:
    """Return the line that ends a section of a page."""
    return f'<!-- end of {name} -->'


def put_section(path: Path, name: str, text: str) -> bool:
    """Replace a section of a page.

    Args:
        path: path of the page. A page without the section is unchanged.
        name: name of the section.
        text: new text of the section.

    Returns:
        Whether the page has the section.
    """
    begin, end = f'{begin_mark(name)}\n', end_mark(name)
    page = path.read_text() if path.exists() else ''
    before, has_begin, section = page.partition(begin)
    _, has_end, after = section.partition(end)
    if not (has_begin and has_end):
        return False
    AtomicLocalBackend().put_text(f'{before}{begin}\n{text}\n\n{end}{after}', path)
    return True
