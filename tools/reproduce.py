"""Run a whole study, every arm with every seed, and write its tables, its CSV and its plot.

    python tools/reproduce.py shapes                      # on this machine
    python tools/reproduce.py tiny-full --gpus 8          # each cell by tools/dist_train.sh
    python tools/reproduce.py tiny-full --slurm PARTITION --gpus 8 --jobs 4
    python tools/reproduce.py dg                          # PACS and VLCS, left out and zero-shot
    python tools/reproduce.py --list

It goes on where it was stopped: what is finished is not run again, and what was interrupted is resumed. With
--publish, what the published CSV holds counts as finished too, where it was run with the same settings.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
from lfi.engine import launch
from lfi.studies import Cell, Study, in_per_cent, metric_name, read_cells, read_run
from lfi.studies.grid import Grid, Job, Launcher, plan, write_cache
from lfi.studies.presets import DOMAIN_STUDIES, PRESETS, Preset
from lfi.studies.settings_digest import ROOTS
from lfi.studies.study_figure import draw_study

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('preset', nargs='?', choices=[*PRESETS, 'dg'], help='which study')
    parser.add_argument('--list', action='store_true', help='say what the studies are')
    parser.add_argument('--out', metavar='DIR', help='default: work_dirs/reproduce/PRESET')
    parser.add_argument('--seeds', type=int, nargs='+', help="default: the study's own")
    parser.add_argument(
        '--arms', nargs='+', metavar='ARM', help='only these; the baseline among them, if it has no result'
    )
    parser.add_argument('--jobs', type=int, default=1, help='cells at a time (%(default)s)')
    parser.add_argument(
        '--gpus', type=int, help='processes that share the batch of a cell; default: one, without a launcher'
    )
    parser.add_argument('--slurm', metavar='PARTITION', help='run each cell as a Slurm job')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change all configs alike'
    )
    parser.add_argument(
        '--publish', metavar='DIR', help='write the tables into DIR/results.md and DIR/../README.md too'
    )
    args = parser.parse_args()
    if args.preset is None and not args.list:
        parser.error(f'name a study: {", ".join(PRESETS)}, dg')
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: give 1 or more')
    if args.slurm and not args.gpus:
        parser.error('--slurm needs --gpus')
    if args.preset == 'dg':
        given = [f'--{name}' for name in ('arms', 'gpus', 'slurm') if getattr(args, name)]
        if given:
            parser.error(f'{" ".join(given)}: the study dg runs here, and both of its arms')
    elif args.preset and args.arms:
        preset = PRESETS[args.preset]
        known = [arm.name for arm in (*preset.arms, *preset.short_arms)]
        unknown = set(args.arms) - set(known)
        if unknown:
            names = ', '.join(known)
            parser.error(f'--arms {" ".join(sorted(unknown))}: {args.preset} has {names}')
    return args


def collect(preset: Preset, jobs: list[Job], metric: str, published: dict[tuple[str, int], Cell]) -> Study:
    """The study of all jobs that have a result, whose settings are today's."""
    cells: dict[str, list[Cell]] = {arm.name: [] for arm in (*preset.arms, *preset.short_arms)}
    for job in jobs:
        found = cell_of(job, preset.validation or metric, metric)
        known = published.get((job.arm.name, job.seed))
        if found is None and known and known.identity == job.identity:
            found = known
        if found is not None:
            cells[job.arm.name].append(found)
    cells = {name: found for name, found in cells.items() if found}
    short = {arm.name: cells.pop(arm.name) for arm in preset.short_arms if arm.name in cells}
    return Study(
        cells, preset.method, preset.shuffled, preset.published.get(metric), short, metric_name(metric)
    )


def cell_of(job: Job, validation: str, metric: str) -> Cell | None:
    """What the job found in its folder; None if it is not finished, or was run with other settings."""
    try:
        result = job.result()
    except launch.UsageError as error:
        print(f'{job.name} is left out: {error}')
        return None
    if result is None:
        return None
    run = read_run(job.folder, job.arm.name, validation)
    test = in_per_cent(metric, result['test'][metric])
    return Cell(job.seed, run, test, result['machine'], job.identity, result['teacher_seconds'])


def report(preset: Preset, study: Study, arms: tuple[str, ...] | None = None) -> str:
    """The verdict of the shuffled controls, the table, and what it was measured on."""
    seeds = ', '.join(str(cell.seed) for cell in study.cells[study.baseline])
    parts = [
        study.verdict(),
        f'{preset.about} Seeds {seeds}; mean ± standard deviation; differences are those of the pairs with '
        f"the same seed, with their 95 % interval by Student's t. Ran on {'; '.join(study.machines())}.",
        study.table(arms),
    ]
    return '\n\n'.join(part for part in parts if part)


def name_of(preset: Preset, prefix: str, metric: str) -> str:
    """How the files of a metric are called; the only one needs no name."""
    return prefix if len(preset.metrics) == 1 else f'{prefix}-{metric.replace("/", "-")}'


def csv_file(preset: Preset, args: argparse.Namespace, metric: str) -> Path | None:
    """Where the cells are published, if they are."""
    return args.publish and Path(args.publish, 'results', f'{name_of(preset, args.preset, metric)}.csv')


def is_published(job: Job, published: list[dict[tuple[str, int], Cell]]) -> bool:
    """Whether each metric's file holds the job's cell, run with the same settings."""
    known = [cells.get((job.arm.name, job.seed)) for cells in published]
    return bool(known) and all(cell is not None and cell.identity == job.identity for cell in known)


def tell_what_is_dropped(jobs: list[Job], published: list[dict[tuple[str, int], Cell]]) -> None:
    """Name the published cells that were run with other settings than today's."""
    today = {(job.arm.name, job.seed): job.identity for job in jobs}
    for key, cell in {key: cell for cells in published for key, cell in cells.items()}.items():
        if today.get(key) != cell.identity:
            print(f'{key[0]}, seed {key[1]}: what is published was run with other settings, and is left out')


def require_baseline(
    jobs: list[Job], wanted: list[Job], published: list[dict[tuple[str, int], Cell]]
) -> None:
    """Raise a UsageError if the baseline has no result, and gets none."""
    baseline = [job for job in jobs if job.arm == jobs[0].arm]
    if not any(job in wanted or is_published(job, published) or job.result() for job in baseline):
        raise launch.UsageError(f'the baseline {jobs[0].arm.name} has no result: name it among --arms')


def write_files(preset: Preset, studies: dict[str, Study], folder: Path, prefix: str) -> None:
    """CSV and plot of each metric."""
    folder.mkdir(parents=True, exist_ok=True)
    for metric, study in studies.items():
        name = name_of(preset, prefix, metric)
        study.write_csv(folder / f'{name}.csv')
        draw_study(study).savefig(folder / f'{name}.png', dpi=100)


def put_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between a file's marks of this name; a file without them is left alone."""
    begin, end = f'<!-- reproduce: {name} -->\n', f'<!-- end of {name} -->'
    whole = path.read_text() if path.exists() else ''
    if begin in whole and end in whole:
        before, rest = whole.split(begin, 1)
        path.write_text(f'{before}{begin}\n{text}\n\n{end}{rest.split(end, 1)[1]}')


def reproduce_domains(args: argparse.Namespace, out: Path) -> None:
    """Leave each domain of each data set out in turn."""
    for name, configs in DOMAIN_STUDIES.items():
        command = [sys.executable, 'tools/benchmark_dg.py', *configs, '--cache-teacher']
        command += ['--work-dir', str(out / name), '--jobs', str(args.jobs)]
        if args.seeds:
            command += ['--seeds', *map(str, args.seeds)]
        if args.cfg_options:
            command += ['--cfg-options', *args.cfg_options]
        process = subprocess.run(command, cwd=ROOT)
        if process.returncode:
            raise launch.UsageError(f'tools/benchmark_dg.py failed with exit code {process.returncode}')
        if args.publish:
            docs = Path(args.publish)
            (docs / 'results').mkdir(parents=True, exist_ok=True)
            shutil.copy(out / name / 'results.json', docs / 'results' / f'dg-{name}.json')
            put_section(docs / 'results.md', f'dg-{name}', (out / name / 'results.md').read_text().strip())


def main() -> None:
    args = parse_args()
    if args.list:
        for name, preset in PRESETS.items():
            print(f'{name}: {preset.about}\n    arms: {", ".join(arm.name for arm in preset.arms)}')
        domains = ' and '.join(DOMAIN_STUDIES)
        print(f'dg: each domain of {domains} left out in turn, by tools/benchmark_dg.py; then zero-shot')
        return
    out = Path(args.out or f'work_dirs/reproduce/{args.preset}').resolve()
    # Cells run in the repository's root, or where a wheel has put the tools.
    for name, default in ROOTS.items():
        os.environ[name] = os.path.abspath(os.environ.get(name, default))
    if args.preset == 'dg':
        reproduce_domains(args, out)
        # The other protocol of domain generalisation.
        args.preset, out = 'zero-shot', out / 'zero-shot'
    preset = PRESETS[args.preset]
    files = [csv_file(preset, args, metric) for metric in preset.metrics]
    published = [
        read_cells(file, metric_name(preset.validation or metric)) if file and file.exists() else {}
        for file, metric in zip(files, preset.metrics)
    ]
    seeds = args.seeds or preset.seeds
    # What is published of other seeds stays.
    more = {seed for cells in published for _, seed in cells} - set(seeds)
    jobs = plan(preset, sorted({*seeds, *more}), args.cfg_options, out)
    tell_what_is_dropped(jobs, published)
    wanted = [job for job in jobs if job.seed in seeds and (not args.arms or job.arm.name in args.arms)]
    todo = [job for job in wanted if not (job.result() or is_published(job, published))]
    require_baseline(jobs, wanted, published)
    for cache in sorted({job.arm.cache for job in todo if job.arm.cache}):
        arm = next(job.arm for job in todo if job.arm.cache == cache)
        write_cache(arm.config, out / cache, [*preset.options, *arm.options, *args.cfg_options])
    print(f'{len(wanted) - len(todo)} of {len(wanted)} cells are finished', flush=True)
    if todo:
        Grid(Launcher(args.gpus, args.slurm), args.jobs).run(todo)

    studies = {
        metric: collect(preset, jobs, metric, known) for metric, known in zip(preset.metrics, published)
    }
    # Metrics of the test share the validation's curves.
    parts = dict.fromkeys(
        part for study in studies.values() for part in (report(preset, study), study.convergence()) if part
    )
    text = '\n\n'.join(parts)
    print(f'\n{text}')
    write_files(preset, studies, out, 'results')
    (out / 'results.md').write_text(f'{text}\n')
    print(f'\nTable, CSV and plot: {out}/results*')
    if args.publish:
        docs = Path(args.publish)
        write_files(preset, studies, docs / 'results', args.preset)
        put_section(docs / 'results.md', args.preset, text)
        short = '\n\n'.join(report(preset, study, preset.headline) for study in studies.values())
        put_section(docs.parent / 'README.md', args.preset, short)


if __name__ == '__main__':
    launch.run(main)
