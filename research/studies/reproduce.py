"""Running a study from its first cell to its tables."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend

from .domains import VALIDATION, DomainStudy
from .grid import START, Grid, domains_of, keep_arms, plan
from .job import Job
from .label_counts import publish_label_counts
from .launcher import Launcher
from .localization_table import Located, collect_localization, localization_report, write_localization
from .locks import publishing_lock
from .overview import publish_overview
from .presets import Preset
from .published import (
    FOLDER,
    PAGE,
    begin_mark,
    dropped,
    end_mark,
    file_of,
    is_published,
    localization_file,
    put_section,
    read_published,
    read_published_localization,
    write_study,
)
from .runs import in_per_cent, metric_name, read_run
from .settings_digest import fix_roots
from .side_by_side import publish_students
from .study import Cell, Key, Study

# Among the commands that are printed: a pattern, which quotes would keep from the shell.
BEST_CHECKPOINT = 'best_*.pth'
# In reports, where a run has not said which: one whose log has warnings alone does not.
UNKNOWN_MACHINE = 'an unknown machine'
# What the prior, which all other arms have, is worth: convergence is told with it and without it.
WITHOUT_PRIOR = 'no-prior'


@dataclass(frozen=True)
class Request:
    """What of a study is to be run, and how.

    Args:
        out: folder of the study.
        seeds: of the runs. Defaults to the study's own.
        arms: only these. Defaults to all.
        domains: only these are left out, where the study leaves some out. Defaults to each one that is there.
        launcher: how the tools are run.
        jobs: cells at a time.
        cfg_options: `--cfg-options` that change all configs alike.
        publish: root of the repository whose pages and `research/published` get the numbers. Defaults to
            none.
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
    """Run the cells that have no result, write the study's tables, and publish them where that is asked for.

    Args:
        name: of the study.
        preset: the study.
        request: what of it, and how.

    Returns:
        The report, as Markdown.

    Raises:
        UsageError: if a cell fails, or the baseline has no result and gets none.
    """
    fix_roots()
    published = read_published(preset, name, request.publish)
    where = read_published_localization(name, request.publish)
    jobs = _all_jobs(preset, request, published)
    stale = dropped(jobs, published, where)
    if stale and request.cfg_options:
        raise UsageError(
            f'--cfg-options {" ".join(request.cfg_options)} --publish {request.publish} would replace what '
            f'is published of {name} with other settings. Leave out one of them, or publish elsewhere'
        )
    for cell in stale:
        print(f'{cell}: what is published was run with other settings, and is left out')
    wanted = [
        job
        for job in jobs
        if job.seed in (request.seeds or preset.seeds_of(job.arm))
        and (not request.arms or job.arm.name in request.arms)
        and (not request.domains or job.domain in request.domains)
    ]
    keep_arms(preset, [job.arm for job in wanted], request.cfg_options)
    finished = {job.key for job in jobs if is_published(job, published, where)}
    todo = [job for job in wanted if not (job.key in finished or job.result())]
    _require_baseline(jobs, wanted, finished)
    print(f'{len(wanted) - len(todo)} of {len(wanted)} cells are finished', flush=True)
    if todo:
        Grid(request.launcher, request.jobs).run(todo)

    if not request.publish:
        return _write(preset, name, request, jobs, published, where)
    with publishing_lock(request.publish / FOLDER):
        # Another run may have published since this one began.
        before, published = published, read_published(preset, name, request.publish)
        where = read_published_localization(name, request.publish)
        if published != before:
            jobs = _all_jobs(preset, request, published)
        return _write(preset, name, request, jobs, published, where)


def _all_jobs(preset: Preset, request: Request, published: Sequence[Mapping[Key, Cell]]) -> list[Job]:
    """Those that are asked for, and those of seeds and domains that are published, which stay."""
    seeds = {*(request.seeds or preset.seeds), *(seed for cells in published for _, seed, _ in cells)}
    domains = request.domains
    if domains and preset.leaves_domains_out:
        there = {domain for cells in published for *_, domain in cells if domain}
        domains = sorted({*domains, *there.intersection(domains_of(preset))})
    return plan(preset, sorted(seeds), request.cfg_options, request.out.resolve(), domains)


def _write(
    preset: Preset,
    name: str,
    request: Request,
    jobs: Sequence[Job],
    published: Sequence[Mapping[Key, Cell]],
    published_localization: Mapping[Key, Located],
) -> str:
    """Write what the jobs have found, and what is published, into the folders of the request.

    Returns:
        The report, as Markdown.
    """
    studies = {
        metric: collect(preset, jobs, metric, cells) for metric, cells in zip(preset.metrics, published)
    }
    where = collect_localization(jobs, published_localization)
    text = report(preset, studies, where, request.cfg_options)
    _write_numbers(preset, studies, where, 'results', request.out)
    AtomicLocalBackend().put_text(f'{text}\n', request.out / 'results.md')
    if request.publish:
        _write_numbers(preset, studies, where, name, request.publish / FOLDER)
        page = request.publish / PAGE
        if not put_section(page, name, text):
            marks = f'{begin_mark(name)} and {end_mark(name)}'
            print(f'{page} gets no table: it has no lines {marks} for the table to stand between')
        publish_label_counts(name, request.publish)
        publish_students(name, request.publish)
        publish_overview(request.publish)
    return text


def _write_numbers(
    preset: Preset,
    studies: Mapping[str, Study | DomainStudy],
    where: Mapping[str, Sequence[Located]],
    name: str,
    folder: Path,
) -> None:
    """Write a file for each metric, and one of where students look, if that was measured or is there."""
    for metric, study in studies.items():
        write_study(study, file_of(preset, name, metric, folder))
    if where or localization_file(name, folder).exists():
        write_localization(where, localization_file(name, folder))


def commands(preset: Preset, request: Request) -> Iterator[str]:
    """What a user types to run each arm of a study, in order: lines of a shell.

    Args:
        preset: the study.
        request: what of it, and how; of several seeds the first is shown.
    """
    seed = (request.seeds or preset.seeds)[0]
    written: set[Path] = set()
    for job in plan(preset, [seed], request.cfg_options, request.out, request.domains):
        if request.arms and job.arm.name not in request.arms:
            continue
        keep_arms(preset, [job.arm], request.cfg_options)
        variables = ' '.join(f'{name}={shlex.quote(value)}' for name, value in job.environment.items())
        yield f'# {job.name}'
        for line in _commands_of(job, request.launcher, written):
            yield ' '.join(filter(None, (variables, *map(_typed, line))))
        yield ''


def _typed(word: str) -> str:
    """An argument as a shell takes it, which finds the best checkpoint itself: its name has the epoch."""
    folder, best, rest = word.partition(BEST_CHECKPOINT)
    return f'{shlex.quote(folder)}{best}{rest}' if best else shlex.quote(word)


def _commands_of(job: Job, launcher: Launcher, written: set[Path]) -> Iterator[list[str]]:
    """Those of a cell, after those of the training before it; each cache in `written` is there."""
    if job.start is not None:
        yield from _commands_of(job.start, launcher, written)
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
    """The study of all jobs that have a result, whose settings are today's."""
    cells: dict[str, list[Cell]] = {arm.name: [] for arm in (*preset.arms, *preset.short_arms)}
    for job in jobs:
        found = cell_of(job, preset.validation or metric, metric)
        known = published.get(job.key)
        if found is None and known and known.identity == job.identity:
            found = known
        if found is not None:
            cells[job.arm.name].append(found)
    cells = {name: found for name, found in cells.items() if found}
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


def cell_of(job: Job, validation: str, metric: str) -> Cell | None:
    """What the job found in its folder; None if it is not finished, or was run with other settings."""
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
    ).as_written()


def report(
    preset: Preset,
    studies: Mapping[str, Study | DomainStudy],
    where: Mapping[str, Sequence[Located]],
    cfg_options: Sequence[str] = (),
) -> str:
    """The tables of all metrics, and of where students look, as Markdown.

    Args:
        preset: the study.
        studies: by metric.
        where: by arm, of those that were measured.
        cfg_options: `--cfg-options` that changed all arms alike. Defaults to none.
    """
    parts = [f'All arms are changed by `{" ".join(cfg_options)}`.'] if cfg_options else []
    for metric, study in studies.items():
        if isinstance(study, DomainStudy):
            parts.append(study.report())
            continue
        if metric.startswith(START):
            # Of the training before, on which the schedule of this one says nothing.
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
        # Arms that begin where another training has ended have had more of it than epochs and seconds say.
        if all(arm.start is None for arm in preset.arms):
            parts.append(study.convergence())
    parts.append(localization_report(where, preset.method))
    # Metrics of the test share the validation's curves.
    return '\n\n'.join(dict.fromkeys(part for part in parts if part))


def _require_baseline(jobs: Sequence[Job], wanted: Sequence[Job], published: Collection[Key]) -> None:
    """Raise a UsageError if the baseline has no result, and gets none."""
    baseline = [job for job in jobs if job.arm == jobs[0].arm]
    if not any(job in wanted or job.key in published or job.result() for job in baseline):
        raise UsageError(f'the baseline {jobs[0].arm.name} has no result: name it among --arms')
