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
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
from lfi.engine import launch
from lfi.engine.job_pool import run_jobs, threads_for
from lfi.engine.run_mark import RunMark
from lfi.engine.schedule import fitted_schedule
from lfi.engine.settings_digest import settings_digest
from lfi.engine.stopwatch import seconds_of, stopwatch
from lfi.engine.tool_output import finished_epoch, machine_of, tool_output
from lfi.evaluation import Cell, Study, in_per_cent, metric_name, read_cells, read_run
from lfi.visualization import draw_study
from mmengine.config import Config
from presets import DOMAIN_STUDIES, PRESETS, Arm, Preset
from rich.progress import Progress

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('preset', nargs='?', choices=[*PRESETS, 'dg'], help='which study')
    parser.add_argument('--list', action='store_true', help='say what the studies are')
    parser.add_argument('--out', metavar='DIR', help='default: work_dirs/reproduce/PRESET')
    parser.add_argument('--seeds', type=int, nargs='+', help="default: the study's own")
    parser.add_argument('--arms', nargs='+', metavar='ARM', help='only these, the baseline among them')
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


@dataclass(frozen=True)
class Launcher:
    """How a tool is run for a config: plainly, by torchrun, or by Slurm."""

    gpus: int | None
    slurm: str | None

    def command(self, tool: str, config: str, work_dir: Path, checkpoint: Path | None = None) -> list[str]:
        """`tools/train.py`, or with a checkpoint `tools/test.py`; further arguments may follow."""
        subject = [config] if checkpoint is None else [config, str(checkpoint)]
        if self.slurm:
            head = ['bash', f'tools/slurm_{tool}.sh', self.slurm, f'lfi-{work_dir.parent.name}', *subject]
            return [*head, str(work_dir)] if checkpoint is None else [*head, '--work-dir', str(work_dir)]
        if self.gpus:
            head = ['bash', f'tools/dist_{tool}.sh', *subject, str(self.gpus)]
        else:
            head = [sys.executable, f'tools/{tool}.py', *subject]
        return [*head, '--work-dir', str(work_dir)]


@dataclass(frozen=True)
class Job:
    """One cell to run."""

    arm: Arm
    seed: int
    folder: Path
    options: tuple[str, ...]
    test_options: tuple[str, ...]
    cache: Path | None
    tests: Mapping[str, str]

    @property
    def name(self) -> str:
        return f'{self.arm.name}, seed {self.seed}'

    @cached_property
    def mark(self) -> RunMark:
        """What the cell leaves; once it is finished, its test metrics and its machine are there."""
        return RunMark(self.folder / 'cell.json', self.identity)

    def config(self) -> Config:
        parser = argparse.ArgumentParser()
        launch.add_config_arguments(parser)
        args = parser.parse_args([str(ROOT / self.arm.config), '--cfg-options', *self.options])
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        return cfg

    @cached_property
    def identity(self) -> str:
        """A digest of the config and of what is tested; where a cache lies does not matter."""
        cfg = self.config()
        cfg.model.pop('teacher_cache', None)
        tests = [Config.fromfile(ROOT / test).to_dict() for test in self.tests.values()]
        return settings_digest(cfg.to_dict(), self.test_options, *tests)

    def teacher_seconds(self) -> float | None:
        """What writing its cache took."""
        if self.cache is None:
            return 0.0
        return seconds_of(clock_of(self.cache))

    def result(self) -> dict | None:
        """What it left when it was finished in its folder, or None.

        Raises:
            UsageError: if it was started there with other settings.
        """
        content = self.mark.read()
        return content if 'test' in content else None


class Grid:
    """Trains and tests cells."""

    def __init__(self, launcher: Launcher, workers: int) -> None:
        self.launcher = launcher
        self.workers = workers

    def run(self, todo: list[Job]) -> None:
        """Run the cells.

        Raises:
            UsageError: when one of them has failed; the others that run are finished first.
        """
        run_jobs([partial(self._run, slot, job) for slot, job in enumerate(todo)], self.workers)

    def _run(self, slot: int, job: Job, progress: Progress) -> str:
        cfg = job.config()
        task = progress.add_task(job.name, total=cfg.train_cfg.max_epochs)
        # Several jobs on a machine need a port each, and share its cores.
        port = int(os.environ.get('PORT', 29500)) + slot % 1000
        env = {'OMP_NUM_THREADS': threads_for(self.workers), 'PYTHON': sys.executable, **os.environ}
        env['PORT'] = str(port)
        if self.launcher.gpus:
            env['GPUS'] = str(self.launcher.gpus)
        options = ['--cfg-options', *job.options]
        train = self.launcher.command('train', job.arm.config, job.folder)
        train += ['--resume', *options, *self._batch(job, cfg)]
        job.mark.write()
        trained_on = None
        for line in tool_output(train, job.name, env, ROOT):
            trained_on = trained_on or machine_of(line)
            epoch = finished_epoch(line)
            if epoch:
                progress.update(task, completed=epoch)
        checkpoint = Path((job.folder / 'last_checkpoint').read_text())
        tests = {f'{name}/': config for name, config in job.tests.items()} or {'': job.arm.config}
        found = {}
        for name, config in tests.items():
            metrics = job.folder / 'test' / name / 'metrics.json'
            test = self.launcher.command('test', config, metrics.parent, checkpoint)
            test += ['--out', str(metrics), '--out-item', 'metrics', *options, *job.test_options]
            for _ in tool_output(test, job.name, env, ROOT):
                pass
            found |= {name + key: value for key, value in json.loads(metrics.read_text()).items()}
        job.mark.write(test=found, machine=trained_on, teacher_seconds=job.teacher_seconds())
        progress.remove_task(task)
        values = ', '.join(f'{key} {value:.4g}' for key, value in found.items())
        return f'{job.name}, test images: {values}'

    def _batch(self, job: Job, cfg: Config) -> list[str]:
        """The batch of each process, so that the whole batch is the one that the learning rate is for."""
        name, processes = 'train_dataloader.batch_size', self.launcher.gpus or 1
        whole = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
        if whole is None or any(option.startswith(f'{name}=') for option in job.options):
            return []
        if whole % processes:
            raise launch.UsageError(
                f'--gpus {processes} does not divide the batch of {whole} that {job.arm.config} was made for'
            )
        return [f'{name}={whole // processes}']


def write_cache(config: str, out: Path, options: list[str]) -> None:
    """One look of the teacher at each training image, for all arms that share it."""
    print(f'The teacher of {config} looks at each training image once', flush=True)
    command = [sys.executable, 'tools/cache_teacher.py', config, '--out', str(out)]
    with stopwatch(clock_of(out)):
        process = subprocess.run([*command, *(['--cfg-options', *options] if options else [])], cwd=ROOT)
        if process.returncode:
            raise launch.UsageError(f'tools/cache_teacher.py failed with exit code {process.returncode}')


def clock_of(cache: Path) -> Path:
    """Where the seconds are kept that a cache took."""
    return cache.with_name(f'{cache.name}_seconds.json')


def plan(preset: Preset, seeds: Iterable[int], cfg_options: Sequence[str], out: Path) -> list[Job]:
    """All cells, seed by seed, so that a comparison is possible early."""
    return [
        Job(
            arm,
            seed,
            out / arm.folder / f'seed-{seed}',
            (
                f'randomness.seed={seed}',
                *preset.options,
                *arm.options,
                *cfg_options,
                *schedule(arm),
                *((f'model.teacher_cache={out / arm.cache}',) if arm.cache else ()),
            ),
            preset.test_options,
            out / arm.cache if arm.cache else None,
            preset.tests,
        )
        for seed in seeds
        for arm in (*preset.arms, *preset.short_arms)
    ]


def schedule(arm: Arm) -> list[str]:
    """Options that fit the config's schedule to the arm's epochs."""
    return [] if arm.epochs is None else fitted_schedule(Config.fromfile(ROOT / arm.config), arm.epochs)


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
    out = Path(args.out or ROOT / 'work_dirs/reproduce' / args.preset).resolve()
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
