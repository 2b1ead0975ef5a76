"""The cells of a study, one for each arm and seed: what they are, and how they are run."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from mmengine.config import Config
from rich.progress import Progress

from lfi.config_files import tools_root
from lfi.engine import launch

from .arms import Arm, filled
from .job_pool import run_jobs, threads_for
from .presets import Preset
from .run_mark import RunMark
from .schedule import fitted_schedule
from .settings_digest import settings_digest
from .stopwatch import seconds_of, stopwatch
from .tool_output import follow_training, tool_output

ROOT = tools_root()


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
        """What messages call the cell."""
        return f'{self.arm.name}, seed {self.seed}'

    @cached_property
    def mark(self) -> RunMark:
        """What the cell leaves; once it is finished, its test metrics and its machine are there."""
        return RunMark(self.folder / 'cell.json', self.identity)

    def config(self) -> Config:
        """The config of the run, with all options."""
        return read_config(self.arm.config, self.options)

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


def read_config(config: str, options: Sequence[str] = ()) -> Config:
    """A config of the repository, changed as the tools change it.

    Args:
        config: its path in the repository.
        options: `--cfg-options`, as a command line has them.
    """
    parser = argparse.ArgumentParser()
    launch.add_config_arguments(parser)
    arguments = [str(ROOT / config), *(['--cfg-options', *options] if options else [])]
    args = parser.parse_args(arguments)
    return launch.load_config(args.config, args.cfg_options)


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
        env = {'OMP_NUM_THREADS': threads_for(self.workers), 'PYTHON': sys.executable, **os.environ}
        env['PORT'] = str(port_for(slot))
        if self.launcher.gpus:
            env['GPUS'] = str(self.launcher.gpus)
        options = ['--cfg-options', *job.options]
        train = self.launcher.command('train', job.arm.config, job.folder)
        train += ['--resume', *options, *self._batch(job, cfg)]
        job.mark.write()
        lines = tool_output(train, job.name, env, ROOT)
        trained_on = follow_training(lines, lambda epoch: progress.update(task, completed=epoch))
        checkpoint = Path((job.folder / 'last_checkpoint').read_text())
        tests = {f'{name}/': config for name, config in job.tests.items()} or {'': job.arm.config}
        found: dict[str, float] = {}
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


def port_for(slot: int) -> int:
    """A port for the processes of one cell to meet at.

    Args:
        slot: number of the cell among those of the study.

    Returns:
        `PORT`, where it is set, plus the slot; otherwise a port that is free on this machine. Slurm runs the
        cell on another machine, where it is as good as any.
    """
    if 'PORT' in os.environ:
        return int(os.environ['PORT']) + slot % 1000
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]


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
                *cfg_options,
                *arm_options(arm),
                *((f'model.teacher_cache={out / arm.cache}',) if arm.cache else ()),
            ),
            preset.test_options,
            out / arm.cache if arm.cache else None,
            preset.tests,
        )
        for seed in seeds
        for arm in (*preset.arms, *preset.short_arms)
    ]


def arm_options(arm: Arm) -> tuple[str, ...]:
    """The arm's options, with those that fit its schedule to its epochs."""
    if arm.epochs is None and not arm.options:
        return ()
    cfg = read_config(arm.config)
    schedule = [] if arm.epochs is None else fitted_schedule(cfg, arm.epochs)
    return (*filled(arm.options, cfg), *schedule)
