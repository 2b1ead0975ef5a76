"""Runs of whole studies, from the first cell to the published tables."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend

from .domains import VALIDATION, DomainStudy
from .forest_figure import publish_forests
from .grid import START_PREFIX, Grid, available_domains, check_cfg_options, plan
from .job import Job
from .label_counts import publish_label_counts
from .launcher import Launcher
from .localization_table import Localization, collect_localization, localization_report, write_localization
from .locks import publishing_lock
from .overview import publish_overview
from .presets import Preset
from .published import (
    FOLDER,
    PAGE,
    begin_mark,
    end_mark,
    file_of,
    is_published,
    localization_file,
    put_section,
    read_published,
    read_published_localization,
    stale_cells,
    write_study,
)
from .runs import in_per_cent, metric_name, read_run
from .settings_digest import fix_roots
from .side_by_side import publish_students
from .study import Cell, Key, Study

# Pattern in printed commands, to be left unquoted for the shell.
BEST_CHECKPOINT = 'best_*.pth'
# Machine of runs whose log level hides it.
UNKNOWN_MACHINE = 'an unknown machine'
# Second baseline of the convergence table: all other arms have the prior.
WITHOUT_PRIOR = 'no-prior'


@dataclass(frozen=True)
class Request:
    """Selection of the cells of a study, and options of the run.

    Args:
        out: folder of the study.
        seeds: seeds of the runs. Defaults to None: the seeds of the study.
        arms: names of the arms to run. Defaults to None: all arms.
        domains: domains to leave out, for studies that do so. Defaults to None: all domains on disk.
        launcher: builds the command lines of the tools.
        jobs: number of cells at a time. Defaults to 1.
        cfg_options: `--cfg-options` for all configs. Defaults to none.
        publish: root of the repository in which to publish tables and numbers. Defaults to None: no
            publishing.
    """

    out: Path
    seeds: Sequence[int] | None = None
    arms: Sequence[str] | None = None
    domains: Sequence[str] | None = None
    launcher: Launcher = field(default_factory=Launcher)
    jobs: int = 1
    cfg_options: Sequence[str] = ()
    publish: Path | None = None


def reproduce(name: str, preset: Preset, request: Request) -> str:
    """Run the unfinished cells of a study, write its tables, and publish them if requested.

    Args:
        name: name of the study.
        preset: the study.
        request: cells and options of the run.

    Returns:
        The report, as Markdown.

    Raises:
        UsageError: if a cell fails, or if the baseline has no result and is not requested.
    """
    fix_roots()
    published = read_published(preset, name, request.publish)
    localization = read_published_localization(name, request.publish)
    jobs = _all_jobs(preset, request, published)
    stale = stale_cells(jobs, published, localization)
    if stale and request.cfg_options:
        raise UsageError(
            f'--cfg-options {" ".join(request.cfg_options)} --publish {request.publish} would replace '
            f'published cells of {name} that have other settings. Leave out one of them, or publish elsewhere'
        )
    for cell in stale:
        print(f'{cell}: the published cell has other settings and is left out')
    requested = [
        job
        for job in jobs
        if job.seed in (request.seeds or preset.seeds_of(job.arm))
        and (not request.arms or job.arm.name in request.arms)
        and (not request.domains or job.domain in request.domains)
    ]
    check_cfg_options(preset, [job.arm for job in requested], request.cfg_options)
    finished = {job.key for job in jobs if is_published(job, published, localization)}
    pending = [job for job in requested if not (job.key in finished or job.result())]
    _require_baseline(jobs, requested, finished)
    print(f'{len(requested) - len(pending)} of {len(requested)} cells are finished', flush=True)
    if pending:
        Grid(request.launcher, request.jobs).run(pending)

    if not request.publish:
        return _write(preset, name, request, jobs, published, localization)
    with publishing_lock(request.publish / FOLDER):
        # Another run may have published since this one began.
        before, published = published, read_published(preset, name, request.publish)
        localization = read_published_localization(name, request.publish)
        if published != before:
            jobs = _all_jobs(preset, request, published)
        return _write(preset, name, request, jobs, published, localization)


def _all_jobs(preset: Preset, request: Request, published: Sequence[Mapping[Key, Cell]]) -> list[Job]:
    """Cells of the requested seeds and domains and of the published ones, which stay in the tables."""
    seeds = {*(request.seeds or preset.seeds), *(seed for cells in published for _, seed, _ in cells)}
    domains = request.domains
    if domains and preset.leaves_domains_out:
        published_domains = {domain for cells in published for *_, domain in cells if domain}
        domains = sorted({*domains, *published_domains.intersection(available_domains(preset))})
    return plan(preset, sorted(seeds), request.cfg_options, request.out.resolve(), domains)


def _write(
    preset: Preset,
    name: str,
    request: Request,
    jobs: Sequence[Job],
    published: Sequence[Mapping[Key, Cell]],
    published_localization: Mapping[Key, Localization],
) -> str:
    """Write the results of the jobs and the published cells to the folders of the request.

    Returns:
        The report, as Markdown.
    """
    studies = {
        metric: collect(preset, jobs, metric, cells) for metric, cells in zip(preset.metrics, published)
    }
    localization = collect_localization(jobs, published_localization)
    text = report(preset, studies, localization, request.cfg_options)
    _write_numbers(preset, studies, localization, 'results', request.out)
    AtomicLocalBackend().put_text(f'{text}\n', request.out / 'results.md')
    if request.publish:
        _write_numbers(preset, studies, localization, name, request.publish / FOLDER)
        page = request.publish / PAGE
        if not put_section(page, name, text):
            marks = f'{begin_mark(name)} and {end_mark(name)}'
            print(f'{page} gets no table: add the lines {marks} around its place')
        publish_label_counts(name, request.publish)
        publish_students(name, request.publish)
        publish_overview(request.publish)
        publish_forests(request.publish)
    return text


def _write_numbers(
    preset: Preset,
    studies: Mapping[str, Study | DomainStudy],
    localization: Mapping[str, Sequence[Localization]],
    name: str,
    folder: Path,
) -> None:
    """Write a file for each metric, and one for localization if it was measured or the file exists."""
    for metric, study in studies.items():
        write_study(study, file_of(preset, name, metric, folder))
    if localization or localization_file(name, folder).exists():
        write_localization(localization, localization_file(name, folder))


def commands(preset: Preset, request: Request) -> Iterator[str]:
    """Yield the shell commands that run each arm of a study, in order.

    Args:
        preset: the study.
        request: cells and options of the run; only the first seed is shown.
    """
    seed = (request.seeds or preset.seeds)[0]
    written: set[Path] = set()
    for job in plan(preset, [seed], request.cfg_options, request.out, request.domains):
        if request.arms and job.arm.name not in request.arms:
            continue
        check_cfg_options(preset, [job.arm], request.cfg_options)
        variables = ' '.join(f'{name}={shlex.quote(value)}' for name, value in job.environment.items())
        yield f'# {job.name}'
        for command in _job_commands(job, request.launcher, written):
            yield ' '.join(filter(None, (variables, *map(_shell_word, command))))
        yield ''


def _shell_word(word: str) -> str:
    """Quote an argument for a shell, but not the pattern of the best checkpoint, whose name has the epoch."""
    folder, pattern, suffix = word.partition(BEST_CHECKPOINT)
    return f'{shlex.quote(folder)}{pattern}{suffix}' if pattern else shlex.quote(word)


def _job_commands(job: Job, launcher: Launcher, written: set[Path]) -> Iterator[list[str]]:
    """Commands of a cell, after those of its start cell, without those of caches in `written`."""
    if job.start is not None:
        yield from _job_commands(job.start, launcher, written)
    cfg = job.config()
    if job.cache and job.cache not in written:
        written.add(job.cache)
        yield job.cache_command(launcher)
    yield job.train_command(launcher, cfg)
    last = f'epoch_{cfg.train_cfg.max_epochs}.pth' if job.domain is None else BEST_CHECKPOINT
    for _, _, command in job.test_commands(launcher, job.folder / last):
        yield command


def collect(
    preset: Preset, jobs: Sequence[Job], metric: str, published: Mapping[Key, Cell]
) -> Study | DomainStudy:
    """Collect the cells of jobs from their results or from published cells of the same settings."""
    cells: dict[str, list[Cell]] = {arm.name: [] for arm in (*preset.arms, *preset.short_arms)}
    for job in jobs:
        cell = read_cell(job, preset.validation or metric, metric)
        published_cell = published.get(job.key)
        if cell is None and published_cell and published_cell.identity == job.identity:
            cell = published_cell
        if cell is not None:
            cells[job.arm.name].append(cell)
    cells = {name: arm_cells for name, arm_cells in cells.items() if arm_cells}
    if preset.leaves_domains_out:
        return DomainStudy(cells)
    short = {arm.name: cells.pop(arm.name) for arm in preset.short_arms if arm.name in cells}
    return Study(
        cells,
        preset.method,
        preset.negative_controls,
        preset.published.get(metric),
        short,
        metric_name(metric),
        further_baselines=(WITHOUT_PRIOR,),
    )


def read_cell(job: Job, validation: str, metric: str) -> Cell | None:
    """Read the cell of a job; None if the job is not finished or was run with other settings."""
    try:
        result = job.result()
    except UsageError as error:
        print(f'{job.name} is left out: {error}')
        return None
    if result is None:
        return None
    if job.domain is not None:
        validation, metric = VALIDATION, f'domain/{job.domain}'
    return Cell(
        job.seed,
        read_run(job.folder, job.arm.name, validation),
        in_per_cent(metric, result['test'][metric]),
        result['machine'] or UNKNOWN_MACHINE,
        job.identity,
        result['teacher_seconds'],
        job.domain,
        result.get('epoch'),
    ).rounded()


def report(
    preset: Preset,
    studies: Mapping[str, Study | DomainStudy],
    localization: Mapping[str, Sequence[Localization]],
    cfg_options: Sequence[str] = (),
) -> str:
    """Return the tables of all metrics and of localization, as Markdown.

    Args:
        preset: the study.
        studies: results by metric.
        localization: localization cells by arm name.
        cfg_options: `--cfg-options` of all arms. Defaults to none.
    """
    parts = [f'All arms are changed by `{" ".join(cfg_options)}`.'] if cfg_options else []
    for metric, study in studies.items():
        if isinstance(study, DomainStudy):
            parts.append(study.report())
            continue
        if metric.startswith(START_PREFIX):
            # This metric belongs to the start cell, so the schedule of the study is not described.
            title = f'At the end of the training before, {study.metric}:'
            parts.append('\n\n'.join(part for part in (title, study.verdict(), study.test_table()) if part))
            continue
        seeds = ', '.join(str(cell.seed) for cell in study.cells[study.baseline])
        about = (
            f'{preset.about} Seeds {seeds}; mean ± standard deviation; differences are those of the pairs '
            "with the same seed, with their 95 % interval by Student's t. "
            f'Ran on {"; ".join(study.machines())}.'
        )
        table = (study.verdict(), about, study.table())
        parts.append('\n\n'.join(part for part in table if part))
        # Epochs and seconds do not count the training of start cells.
        if all(arm.start is None for arm in preset.arms):
            parts.append(study.convergence())
    parts.append(localization_report(localization, preset.method))
    # Test metrics share the curves of the validation.
    return '\n\n'.join(dict.fromkeys(part for part in parts if part))


def _require_baseline(jobs: Sequence[Job], requested: Sequence[Job], published: Collection[Key]) -> None:
    """Raise a UsageError if the baseline has no result and is not requested."""
    baseline = [job for job in jobs if job.arm == jobs[0].arm]
    if not any(job in requested or job.key in published or job.result() for job in baseline):
        raise UsageError(f'the baseline {jobs[0].arm.name} has no result: add it to --arms')
