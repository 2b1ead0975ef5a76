"""The grid of a study: a cell for each arm, seed and domain left out; what it is, and how it is run."""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path

from mmengine.config import Config
from rich.progress import Progress

from lfi.config_files import tools_root
from lfi.engine import launch
from lfi.errors import UsageError

from .arms import Arm
from .job_pool import run_jobs, threads_for
from .launcher import Launcher
from .presets import Preset
from .run_mark import RunMark
from .schedule import fitted_schedule
from .settings_digest import settings_digest
from .stopwatch import seconds_of, stopwatch
from .tool_output import follow_training, tool_output

# Which domain a config leaves out of training.
DOMAIN_VARIABLE = 'LFI_TARGET_DOMAIN'
# What begins the names of the metrics of where a student looks.
WHERE = 'semantic/'
# Settings of training that no test needs: a cache holds the training images alone, and what tests a baseline
# by another config may have no loss.
OF_TRAINING = ('model.teacher_cache', 'model.distill_loss.')
# The variable is one for the process, and cells run in threads.
_domain_lock = threading.RLock()


@dataclass(frozen=True)
class Job:
    """One cell to run.

    Args:
        arm: how it trains.
        seed: of the run.
        folder: where it leaves what it finds.
        options: `--cfg-options` of training and test.
        test_options: further ones of the test.
        tests: configs of the tests, by the names that begin their metrics. Defaults to the arm's config.
        cache: of the teacher, from which it learns. Defaults to none.
        cache_options: `--cfg-options` of writing the cache.
        domain: that it leaves out of training, and is tested on by its best checkpoint. Defaults to none: the
            last checkpoint is tested.
    """

    arm: Arm
    seed: int
    folder: Path
    options: tuple[str, ...] = ()
    test_options: tuple[str, ...] = ()
    tests: Mapping[str, str] = field(default_factory=dict)
    cache: Path | None = None
    cache_options: tuple[str, ...] = ()
    domain: str | None = None

    @property
    def name(self) -> str:
        """As messages call it."""
        left_out = '' if self.domain is None else f', {self.domain} left out'
        return f'{self.arm.name}{left_out}, seed {self.seed}'

    @property
    def key(self) -> tuple[str, int, str | None]:
        """Arm, seed and domain: no other cell of the study has all three."""
        return self.arm.name, self.seed, self.domain

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its configs read."""
        return {} if self.domain is None else {DOMAIN_VARIABLE: self.domain}

    @cached_property
    def mark(self) -> RunMark:
        """What the cell leaves; once it is finished, its test metrics and its machine are there."""
        return RunMark(self.folder / 'cell.json', self.identity)

    def config(self) -> Config:
        """The config of the run, with all options."""
        return read_config(self.arm.config, self.options, self.domain)

    @cached_property
    def identity(self) -> str:
        """A digest of the config and of what is tested; where a cache lies does not matter."""
        cfg = self.config()
        cfg.model.pop('teacher_cache', None)
        tests = [read_config(test).to_dict() for test in self.tests.values()]
        return settings_digest(cfg.to_dict(), self.cache is not None, self.test_options, *tests)

    @property
    def measures_where(self) -> bool:
        """Whether its tests measure where the student looks, too."""
        return any(map(measures_where, self.tests.values()))

    def teacher_seconds(self) -> float | None:
        """What writing its cache took; None where it is not known."""
        return 0.0 if self.cache is None else seconds_of(clock_of(self.cache))

    def result(self) -> dict | None:
        """What it left when it was finished in its folder, or None.

        Raises:
            UsageError: if it was started there with other settings.
        """
        content = self.mark.read()
        return content if 'test' in content else None

    def checkpoint(self) -> Path:
        """The checkpoint that is tested.

        Raises:
            UsageError: if the config has kept none as the best.
        """
        if self.domain is not None:
            return best_checkpoint(self.folder)
        return Path((self.folder / 'last_checkpoint').read_text())

    def cache_command(self, python: str) -> list[str]:
        """One look of the teacher at each training image, for all that share the cache."""
        command = [python, 'tools/cache_teacher.py', self.arm.config, '--out', str(self.cache)]
        return [*command, *(['--cfg-options', *self.cache_options] if self.cache_options else [])]

    def train_command(self, launcher: Launcher, cfg: Config) -> list[str]:
        """Training, or going on where it was stopped."""
        command = launcher.command('train', self.arm.config, self.folder)
        batch = batch_options(self, cfg, launcher.gpus or 1)
        return [*command, '--resume', '--cfg-options', *self.options, *batch]

    def test_commands(self, launcher: Launcher, checkpoint: Path) -> Iterator[tuple[str, Path, list[str]]]:
        """What begins the names of the metrics, the file that gets them, and the command, of each test."""
        tests = {f'{name}/' if name else '': config for name, config in self.tests.items()}
        tests = tests or {'': self.arm.config}
        options = self.options
        if self.tests:
            options = tuple(option for option in options if not _key(option).startswith(OF_TRAINING))
        for name, config in tests.items():
            metrics = self.folder / 'test' / name / 'metrics.json'
            command = launcher.command('test', config, metrics.parent, checkpoint)
            command += ['--out', str(metrics), '--out-item', 'metrics', '--cfg-options', *options]
            yield name, metrics, [*command, *self.test_options]


def read_config(config: str, options: Sequence[str] = (), domain: str | None = None) -> Config:
    """A config of the repository, changed as the tools change it.

    Args:
        config: its path in the repository, or on disk.
        options: `--cfg-options`, as a command line has them.
        domain: that is left out, in configs that leave one out. Defaults to the config's own choice.
    """
    parser = argparse.ArgumentParser()
    launch.add_config_arguments(parser)
    arguments = [str(tools_root() / config), *(['--cfg-options', *options] if options else [])]
    args = parser.parse_args(arguments)
    with _domain_lock, _target_domain(domain):
        return launch.load_config(args.config, args.cfg_options)


@cache
def measures_where(config: str) -> bool:
    """Whether a config of the repository measures where a student looks."""
    evaluators = read_config(config).test_evaluator
    evaluators = evaluators if isinstance(evaluators, Sequence) else [evaluators]
    return any(evaluator.type == 'lfi.SemanticConsistencyMetric' for evaluator in evaluators)


@contextmanager
def _target_domain(domain: str | None) -> Iterator[None]:
    before = os.environ.pop(DOMAIN_VARIABLE, None)
    if domain is not None:
        os.environ[DOMAIN_VARIABLE] = domain
    try:
        yield
    finally:
        os.environ.pop(DOMAIN_VARIABLE, None)
        if before is not None:
            os.environ[DOMAIN_VARIABLE] = before


def batch_options(job: Job, cfg: Config, processes: int) -> list[str]:
    """The batch of each process, so that the total batch is the one that the learning rate is for.

    Raises:
        UsageError: if the processes do not divide it.
    """
    name = 'train_dataloader.batch_size'
    total = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if total is None or any(option.startswith(f'{name}=') for option in job.options):
        return []
    if total % processes:
        raise UsageError(
            f'--gpus {processes} does not divide the batch of {total} that {job.arm.config} was made for'
        )
    return [f'{name}={total // processes}']


class Grid:
    """Trains and tests cells.

    Args:
        launcher: how the tools are run.
        workers: cells at a time.
    """

    def __init__(self, launcher: Launcher, workers: int) -> None:
        self.launcher = launcher
        self.workers = workers
        self._cache_lock = threading.Lock()
        self._caches: set[Path] = set()

    def run(self, todo: Sequence[Job]) -> None:
        """Run the cells.

        Raises:
            UsageError: when one of them has failed; the others that run are finished first.
        """
        run_jobs([partial(self._run, slot, job) for slot, job in enumerate(todo)], self.workers)

    def _run(self, slot: int, job: Job, progress: Progress) -> str:
        cfg = job.config()
        task = progress.add_task(job.name, total=cfg.train_cfg.max_epochs)
        env = {
            'OMP_NUM_THREADS': threads_for(self.workers),
            **os.environ,
            **self.launcher.environment(slot),
            **job.environment,
        }
        job.mark.write()
        self._write_cache(job, env, progress)
        lines = tool_output(job.train_command(self.launcher, cfg), job.name, env, tools_root())
        trained_on = follow_training(lines, lambda epoch: progress.update(task, completed=epoch))
        checkpoint = job.checkpoint()
        found: dict[str, float] = {}
        for name, metrics, command in job.test_commands(self.launcher, checkpoint):
            for _ in tool_output(command, job.name, env, tools_root()):
                pass
            found |= {name + key: value for key, value in json.loads(metrics.read_text()).items()}
        job.mark.write(
            test=found,
            machine=trained_on,
            teacher_seconds=job.teacher_seconds(),
            epoch=epoch_of(checkpoint),
        )
        progress.remove_task(task)
        # Where the student looks is told by a table.
        told = {key: value for key, value in found.items() if not key.startswith(WHERE)}
        values = ', '.join(f'{key} {value:.4g}' for key, value in told.items())
        return f'{job.name}, test images: {values}'

    def _write_cache(self, job: Job, env: Mapping[str, str], progress: Progress) -> None:
        """Write the job's cache, unless another cell of this run has."""
        if job.cache is None:
            return
        with self._cache_lock:
            if job.cache in self._caches:
                return
            progress.console.print(f'{job.name}: the teacher looks at each training image once')
            with stopwatch(clock_of(job.cache)):
                for _ in tool_output(job.cache_command(self.launcher.python), job.name, env, tools_root()):
                    pass
            self._caches.add(job.cache)


def epoch_of(checkpoint: Path) -> int:
    """Of a checkpoint's name, as CheckpointHook gives it; the iteration, where a schedule counts those."""
    return int(checkpoint.stem.rsplit('_', 1)[1])


def best_checkpoint(folder: Path) -> Path:
    """What CheckpointHook saved as the best.

    Raises:
        UsageError: if there is none.
    """
    found = sorted(folder.glob('best_*.pth'), key=epoch_of)
    if not found:
        raise UsageError(
            f'{folder} has no best checkpoint: the config needs default_hooks.checkpoint.save_best'
        )
    return found[-1]


def clock_of(cache: Path) -> Path:
    """Where the seconds are kept that a cache took."""
    return cache.with_name(f'{cache.name}_seconds.json')


def domains_of(preset: Preset) -> list[str]:
    """The domains that can be left out: those of the data that is there.

    Raises:
        UsageError: if a config leaves no domain out.
    """
    for arm in preset.arms:
        cfg = read_config(arm.config)
        if 'target_domain' not in cfg:
            raise UsageError(
                f'{arm.config} has no target_domain: it must read {DOMAIN_VARIABLE}, as '
                'configs/_base_/datasets/pacs_64.py does'
            )
    return sorted([*cfg.source_domains, cfg.target_domain])


def plan(
    preset: Preset,
    seeds: Iterable[int],
    cfg_options: Sequence[str],
    out: Path,
    domains: Sequence[str] | None = None,
) -> list[Job]:
    """All cells, seed by seed, so that a comparison is possible early.

    Args:
        preset: the study.
        seeds: of the runs.
        cfg_options: `--cfg-options` that change all arms alike.
        out: folder of the study.
        domains: those to leave out, where the study leaves some out. Defaults to each one that is there.

    Raises:
        UsageError: if a domain is not there.
    """
    left_out: Sequence[str | None] = [None]
    if preset.leaves_domains_out:
        there = domains_of(preset)
        unknown = set(domains or []) - set(there)
        if unknown:
            raise UsageError(f'--domains {" ".join(sorted(unknown))}: there are {", ".join(there)}')
        left_out = domains or there
    arms = [(arm, arm_options(arm)) for arm in (*preset.arms, *preset.short_arms)]
    return [
        _job(preset, arm, (*cfg_options, *options), seed, domain, out)
        for seed in seeds
        for domain in left_out
        for arm, options in arms
    ]


def keep_arms(arms: Iterable[Arm], cfg_options: Sequence[str]) -> None:
    """Refuse `--cfg-options` that change what makes an arm what it is.

    Raises:
        UsageError: if an arm sets one of them itself; the message names both.
    """
    for arm in arms:
        taken = {_key(option) for option in arm.options} & {_key(option) for option in cfg_options}
        if taken:
            raise UsageError(
                f'--cfg-options {", ".join(sorted(taken))}: the arm {arm.name!r} sets it itself. Leave the '
                'option out, or choose other arms by --arms'
            )


def _job(preset: Preset, arm: Arm, options: tuple[str, ...], seed: int, domain: str | None, out: Path) -> Job:
    of_seed = tuple(option.format(seed=seed) for option in preset.seed_options)
    folder, shared = out / arm.folder / f'seed-{seed}', (*preset.options, *options)
    cache = out / arm.cache if arm.cache else None
    cache_options = shared
    if domain is not None:
        # Each domain and split has training images of its own.
        folder = out / arm.folder / domain / f'seed-{seed}'
        cache = folder / arm.cache if arm.cache else None
        cache_options = (*of_seed, *shared)
    cached = (f'model.teacher_cache={cache}',) if cache else ()
    given = set(map(_key, options))
    of_study = tuple(option for option in preset.test_options if _key(option) not in given)
    return Job(
        arm,
        seed,
        folder,
        options=(*of_seed, *shared, *cached),
        test_options=(*of_study, *arm.test_options),
        tests={'': arm.test_config} if arm.test_config else preset.tests,
        cache=cache,
        cache_options=cache_options,
        domain=domain,
    )


def arm_options(arm: Arm) -> tuple[str, ...]:
    """The arm's options, with those that fit its schedule to its epochs."""
    if arm.epochs is None:
        return arm.options
    return (*arm.options, *fitted_schedule(read_config(arm.config), arm.epochs))


def _key(option: str) -> str:
    """What an option `KEY=VALUE` changes."""
    return option.split('=', 1)[0]
