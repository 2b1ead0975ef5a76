"""The grid of a study: a cell for each arm, seed and domain left out, and how the cells are run."""

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
from .job import CACHE, DOMAIN_VARIABLE, Job, clock_of, epoch_of, key_of, read_config
from .job_pool import run_jobs, threads_for
from .launcher import Launcher
from .locks import awaited_lock, run_lock
from .presets import Preset
from .schedule import fitted_schedule
from .stopwatch import stopwatch
from .tool_output import follow_training, tool_output

# What begins the names of the metrics of where a student looks, and of those of the cell before.
WHERE = 'semantic/'
START = 'start/'


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
        with run_lock(job.folder / '.lock') as lock:
            # Another run may have finished it since this one began.
            result = job.result() or self._result(slot, job, lock, progress)
        # Where the student looks is told by a table.
        told = {key: value for key, value in result['test'].items() if not key.startswith(WHERE)}
        values = ', '.join(f'{key} {value:.4g}' for key, value in told.items())
        return f'{job.name}, test images: {values}'

    def _result(self, slot: int, job: Job, lock: int, progress: Progress) -> dict:
        """What a cell leaves, whose programs hold its lock."""
        before = {} if job.start is None else self._run_before(slot, job.start, progress)
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
        trained_on = follow_training(lines, lambda epoch: progress.update(task, completed=epoch))
        checkpoint = job.checkpoint()
        found = {START + key: value for key, value in before.items()}
        for name, metrics, command in job.test_commands(self.launcher, checkpoint):
            for _ in tool_output(command, job.name, env, tools_root(), pass_fds=[lock]):
                pass
            found |= {name + key: value for key, value in json.loads(metrics.read_text()).items()}
        job.mark.write(
            test=found,
            machine=trained_on,
            teacher_seconds=job.teacher_seconds(),
            epoch=epoch_of(checkpoint),
        )
        progress.remove_task(task)
        return job.mark.read()

    def _run_before(self, slot: int, job: Job, progress: Progress) -> dict[str, float]:
        """What the tests of a cell measure with which another begins; it is run unless it is finished."""
        if job.result() is None:
            progress.console.print(self._run(slot, job, progress))
        result = job.result()
        assert result is not None
        return result['test']

    def _write_cache(self, job: Job, env: Mapping[str, str], progress: Progress) -> None:
        """Write the job's cache, unless another cell of this run has; what another run writes is awaited."""
        if job.cache is None:
            return
        with self._cache_lock:
            if job.cache in self._caches:
                return
            command = job.cache_command(self.launcher)
            file = job.cache.with_name(f'.{job.cache.name}.lock')
            with awaited_lock(file, job.name) as lock, _clock(job.cache):
                progress.console.print(f'{job.name}: the teacher looks at each training image once')
                for _ in tool_output(command, job.name, env, tools_root(), pass_fds=[lock]):
                    pass
            self._caches.add(job.cache)


def _clock(cache: Path) -> AbstractContextManager[None]:
    """Count the seconds that writing a cache takes, from its first look at an image to its last."""
    clock = clock_of(cache)
    if not (cache / MANIFEST).exists():
        # What is known is of a cache that is there no more.
        clock.unlink(missing_ok=True)
    elif not clock.exists():
        # Someone else has begun it: how long that took is not known, and looking through it takes no time.
        return nullcontext()
    return stopwatch(clock)


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
    return [
        _job(preset, arm, cfg_options, seed, domain, out)
        for seed in seeds
        for domain in left_out
        for arm in (*preset.arms, *preset.short_arms)
    ]


def keep_arms(preset: Preset, arms: Iterable[Arm], cfg_options: Sequence[str]) -> None:
    """Refuse `--cfg-options` that change what makes a study or an arm what it is.

    Raises:
        UsageError: if the study sets one of them or a part of it itself, such as the seed, or an arm does,
            its epochs included; the message names both.
    """
    for given, own in _both_set(cfg_options, (*preset.options, *preset.seed_options)):
        raise UsageError(
            f'--cfg-options {given}: the study sets {own} itself. Leave the option out; seeds are given by '
            '--seeds'
        )
    for arm in arms:
        for given, own in _both_set(cfg_options, arm_options(arm)):
            raise UsageError(
                f'--cfg-options {given}: the arm {arm.name!r} sets {own} itself. Leave the option out, or '
                'choose other arms by --arms'
            )


def _both_set(given: Iterable[str], own: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of given options by which own ones are set, or lost, each with the key that is."""
    for key in map(key_of, given):
        for other in map(key_of, own):
            if other == key or other.startswith(f'{key}.'):
                yield key, other


def _job(
    preset: Preset, arm: Arm, cfg_options: Sequence[str], seed: int, domain: str | None, out: Path
) -> Job:
    options = (*cfg_options, *arm_options(arm))
    of_seed = tuple(option.format(seed=seed) for option in preset.seed_options)
    folder, shared = out / arm.folder / f'seed-{seed}', (*preset.options, *options)
    cache = out / arm.cache if arm.cache else None
    cache_options = shared
    if domain is not None:
        # Each domain and split has training images of its own.
        folder = out / arm.folder / domain / f'seed-{seed}'
        cache = folder / arm.cache if arm.cache else None
        cache_options = (*of_seed, *shared)
    cached = (f'{CACHE}={cache}',) if cache else ()
    start = None
    if arm.start is not None:
        start = _job(before(preset), arm.start, cfg_options, seed, None, out / 'start')
    given = set(map(key_of, options))
    of_study = tuple(option for option in preset.test_options if key_of(option) not in given)
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
        start=start,
    )


def before(preset: Preset) -> Preset:
    """As which a study's cells run what comes before them: by no options but those of seed and test."""
    return replace(preset, options=(), seed_options=preset.seed_options[:1], tests={})


@cache
def arm_options(arm: Arm) -> tuple[str, ...]:
    """The arm's options, with those that fit its schedule to its epochs."""
    if arm.epochs is None:
        return arm.options
    return (*arm.options, *fitted_schedule(read_config(arm.config), arm.epochs))
