"""Where the numbers of a study are published, and which of its cells are known from there."""

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
from .localization_table import Located, read_localization
from .presets import Preset
from .runs import metric_name
from .study import Cell, Key, Study, read_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FOLDER, PAGE = Path('research/published'), Path('docs/results.md')
"""Where the numbers and figures are published below the repository's root, and the page of their tables."""


def file_of(preset: Preset, name: str, metric: str, folder: Path) -> Path:
    """The file with all numbers of a metric; the only one, or the validated one, needs no name in it."""
    named = len(preset.metrics) > 1 and metric != preset.validation
    stem = f'{name}-{metric.replace("/", "-")}' if named else name
    return folder / f'{stem}.{"json" if preset.leaves_domains_out else "csv"}'


def read_published(preset: Preset, name: str, root: Path | None) -> list[dict[Key, Cell]]:
    """The cells that are published, for each metric of the study.

    Args:
        preset: the study.
        name: of the study.
        root: of the repository; None where nothing is published.
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
    """The file that says where the study's students look."""
    return folder / f'{name}_localization.csv'


def read_published_localization(name: str, root: Path | None) -> dict[Key, Located]:
    """What is published of where a study's students look; arguments as of `read_published`."""
    return {} if root is None else read_localization(localization_file(name, root / FOLDER))


def is_published(job: Job, published: Sequence[Mapping[Key, Cell]], where: Mapping[Key, Located]) -> bool:
    """Whether each file that the job's cell belongs in holds it, run with the same settings.

    Args:
        job: the cell.
        published: for each metric.
        where: where students look, which not every job measures.
    """
    known: list[Cell | Located | None] = [cells.get(job.key) for cells in published]
    if job.measures_localization:
        known.append(where.get(job.key))
    return bool(known) and all(cell is not None and cell.identity == job.identity for cell in known)


def dropped(
    jobs: Sequence[Job],
    published: Sequence[Mapping[Key, Cell]],
    where: Mapping[Key, Located],
) -> list[str]:
    """The published cells that were run with other settings than today's, by name; as `is_published`."""
    known: list[Mapping[Key, Cell] | Mapping[Key, Located]] = [*published, where]
    keys = {key for cells in known for key in cells}
    today = {job.key: job.identity for job in jobs if job.key in keys}
    stale = (key for cells in known for key, cell in cells.items() if today.get(key) != cell.identity)
    return [
        f'{arm}{f", {domain} left out" if domain else ""}, seed {seed}'
        for arm, seed, domain in dict.fromkeys(stale)
    ]


def write_study(study: Study | DomainStudy, file: Path) -> None:
    """Write all numbers of a study, and, of one without domains, its plot beside them."""
    if isinstance(study, DomainStudy):
        AtomicLocalBackend().put_text(json.dumps(study.content(), indent=1), file)
        return
    study.write_csv(file)
    from .study_figure import draw_study

    put_figure(draw_study(study), file.with_suffix('.png'))


def put_figure(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file, complete or not at all."""
    picture = io.BytesIO()
    save_figure(figure, picture, format='png', dpi=100)
    AtomicLocalBackend().put(picture.getvalue(), file)


def begin_mark(name: str) -> str:
    """The line of a page after which the section of this name stands."""
    return f'<!-- reproduce: {name} -->'


def end_mark(name: str) -> str:
    """The line of a page before which the section of this name ends."""
    return f'<!-- end of {name} -->'


def put_section(path: Path, name: str, text: str) -> bool:
    """Replace what stands between a page's marks of this name.

    Args:
        path: of the page. One without the marks is left alone.
        name: of the section.
        text: that stands there from now on.

    Returns:
        Whether the page has the marks, and so the text.
    """
    begin, end = f'{begin_mark(name)}\n', end_mark(name)
    page = path.read_text() if path.exists() else ''
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        return False
    AtomicLocalBackend().put_text(f'{before}{begin}\n{text}\n\n{end}{after}', path)
    return True
