"""Grid of a study, with a cell for each arm, seed and domain left out."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from lfi.config_files import tools_root
from lfi.errors import UsageError
from lfi.utils.repositories import MANIFEST
from rich.progress import Progress

from .arms import Arm
from .job import CACHE, DOMAIN_VARIABLE, Job, cache_clock_file, checkpoint_epoch, option_key, read_config
from .job_pool import run_jobs, threads_for
from .launcher import Launcher
from .locks import awaited_lock, run_lock
from .presets import Preset
from .schedule import fitted_schedule
from .stopwatch import stopwatch
from .tool_output import follow_training, tool_output

# Prefixes of localization metrics, and of the test metrics of the start cell.
LOCALIZATION_PREFIX = 'semantic/'
START_PREFIX = 'start/'


class Grid:
    """Trains and tests cells.

    Args:
        launcher: builds the command lines of the tools.
        workers: number of cells at a time.
    """

    def __init__(self, launcher: Launcher, workers: int) -> None:
        self.launcher = launcher
        self.workers = workers
        self._cache_lock = threading.Lock()
        self._caches: set[Path] = set()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run cells.

        Raises:
            UsageError: if a cell fails; cells that run already are finished first.
        """
        run_jobs([partial(self._run, slot, job) for slot, job in enumerate(jobs)], self.workers)

    def _run(self, slot: int, job: Job, progress: Progress) -> str:
        with run_lock(job.folder / '.lock') as lock:
            # Another run may have finished the cell since this one began.
            result = job.result() or self._train_and_test(slot, job, lock, progress)
        # The localization table shows the other metrics.
        metrics = [item for item in result['test'].items() if not item[0].startswith(LOCALIZATION_PREFIX)]
        return f'{job.name}, test images: {", ".join(f"{key} {value:.4g}" for key, value in metrics)}'

    def _train_and_test(self, slot: int, job: Job, lock: int, progress: Progress) -> dict:
        """Train and test a cell, and return the content of its mark. Its programs inherit the lock."""
        start_metrics = {} if job.start is None else self._run_start(slot, job.start, progress)
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
        command = job.train_command(self.launcher, cfg)
        lines = tool_output(command, job.name, env, tools_root(), pass_fds=[lock])
        machine = follow_training(lines, lambda epoch: progress.update(task, completed=epoch))
        checkpoint = job.checkpoint()
        metrics = {START_PREFIX + key: value for key, value in start_metrics.items()}
        for prefix, file, command in job.test_commands(self.launcher, checkpoint):
            for _ in tool_output(command, job.name, env, tools_root(), pass_fds=[lock]):
                pass
            metrics |= {prefix + key: value for key, value in json.loads(file.read_text()).items()}
        job.mark.write(
            test=metrics,
            machine=machine,
            teacher_seconds=job.teacher_seconds(),
            epoch=checkpoint_epoch(checkpoint),
        )
        progress.remove_task(task)
        return job.mark.read()

    def _run_start(self, slot: int, job: Job, progress: Progress) -> dict[str, float]:
        """Run the start cell of another cell unless it is finished, and return its test metrics."""
        if job.result() is None:
            progress.console.print(self._run(slot, job, progress))
        result = job.result()
        assert result is not None
        return result['test']

    def _write_cache(self, job: Job, env: Mapping[str, str], progress: Progress) -> None:
        """Write the cache of a cell once per run, after any other run that writes the same cache."""
        if job.cache is None:
            return
        with self._cache_lock:
            if job.cache in self._caches:
                return
            command = job.cache_command(self.launcher)
            file = job.cache.with_name(f'.{job.cache.name}.lock')
            with awaited_lock(file, job.name) as lock, _cache_stopwatch(job.cache):
                progress.console.print(f'{job.name}: writing the cache of the teacher')
                for _ in tool_output(command, job.name, env, tools_root(), pass_fds=[lock]):
                    pass
            self._caches.add(job.cache)


def _cache_stopwatch(cache: Path) -> AbstractContextManager[None]:
    """Measure the seconds of writing a cache from its first image to its last."""
    clock = cache_clock_file(cache)
    if not (cache / MANIFEST).exists():
        # The clock belongs to a cache that was removed.
        clock.unlink(missing_ok=True)
    elif not clock.exists():
        # The cache was begun elsewhere, and its time is unknown.
        return nullcontext()
    return stopwatch(clock)


def available_domains(preset: Preset) -> list[str]:
    """Return the sorted domains of the data on disk.

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
    """Plan all cells, seed by seed, so that arms can be compared early.

    Args:
        preset: the study.
        seeds: seeds of the runs.
        cfg_options: `--cfg-options` for all arms.
        out: folder of the study.
        domains: domains to leave out, for studies that do so. Defaults to None: all domains on disk.

    Raises:
        UsageError: if a domain is not on disk.
    """
    left_out: Sequence[str | None] = [None]
    if preset.leaves_domains_out:
        available = available_domains(preset)
        unknown = set(domains or []) - set(available)
        if unknown:
            raise UsageError(f'--domains {" ".join(sorted(unknown))}: there are {", ".join(available)}')
        left_out = domains or available
    return [
        _job(preset, arm, cfg_options, seed, domain, out)
        for seed in seeds
        for domain in left_out
        for arm in (*preset.arms, *preset.short_arms)
    ]


def check_cfg_options(preset: Preset, arms: Iterable[Arm], cfg_options: Sequence[str]) -> None:
    """Check that `--cfg-options` override no option of the study or of an arm.

    Raises:
        UsageError: if the study or an arm sets an option or a part of it, such as the seed or the epochs.
    """
    for key, fixed_key in _conflicting_keys(cfg_options, (*preset.options, *preset.seed_options)):
        raise UsageError(
            f'--cfg-options {key}: the study sets {fixed_key} itself. Leave the option out; set seeds with '
            '--seeds'
        )
    for arm in arms:
        for key, fixed_key in _conflicting_keys(cfg_options, arm_options(arm)):
            raise UsageError(
                f'--cfg-options {key}: the arm {arm.name!r} sets {fixed_key} itself. Leave the option out, '
                'or choose other arms with --arms'
            )


def _conflicting_keys(options: Iterable[str], fixed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of an option's key and the fixed key that the option would override."""
    for key in map(option_key, options):
        for fixed_key in map(option_key, fixed):
            if fixed_key == key or fixed_key.startswith(f'{key}.'):
                yield key, fixed_key


def _job(
    preset: Preset, arm: Arm, cfg_options: Sequence[str], seed: int, domain: str | None, out: Path
) -> Job:
    options = (*cfg_options, *arm_options(arm))
    seed_options = tuple(option.format(seed=seed) for option in preset.seed_options)
    folder, shared = out / arm.folder / f'seed-{seed}', (*preset.options, *options)
    cache = out / arm.cache if arm.cache else None
    cache_options = shared
    if domain is not None:
        # Training images differ by domain and seed.
        folder = out / arm.folder / domain / f'seed-{seed}'
        cache = folder / arm.cache if arm.cache else None
        cache_options = (*seed_options, *shared)
    cached = (f'{CACHE}={cache}',) if cache else ()
    start = None
    if arm.start is not None:
        start = _job(start_preset(preset), arm.start, cfg_options, seed, None, out / 'start')
    keys = set(map(option_key, options))
    test_options = tuple(option for option in preset.test_options if option_key(option) not in keys)
    return Job(
        arm,
        seed,
        folder,
        options=(*seed_options, *shared, *cached),
        test_options=(*test_options, *arm.test_options),
        tests={'': arm.test_config} if arm.test_config else preset.tests,
        cache=cache,
        cache_options=cache_options,
        domain=domain,
        start=start,
    )


def start_preset(preset: Preset) -> Preset:
    """Return the study of the start cells: options of the seed and the test alone."""
    return replace(preset, options=(), seed_options=preset.seed_options[:1], tests={})


@cache
def arm_options(arm: Arm) -> tuple[str, ...]:
    """Return the options of an arm, including those that fit the schedule to its epochs."""
    if arm.epochs is None:
        return arm.options
    return (*arm.options, *fitted_schedule(read_config(arm.config), arm.epochs))
