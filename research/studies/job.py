"""Cell of a study: an arm with a seed and, in studies of domains, a domain left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from lfi.cli.arguments import ArgumentParser, add_config_arguments
from lfi.config_files import tools_root
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from mmengine.config import Config

from .arms import NO_INTERACTIONS, Arm
from .launcher import Launcher
from .run_mark import RunMark
from .settings_digest import ROOTS, settings_digest
from .stopwatch import read_seconds

# Environment variable with the domain that a config leaves out of training.
DOMAIN_VARIABLE = 'LFI_TARGET_DOMAIN'
# Config key of the cache, which holds the training images alone.
CACHE = 'model.teacher.cache'
# Cells run in threads, and threads share the variable.
_domain_lock = threading.RLock()


@dataclass(frozen=True)
class Job:
    """One cell to run.

    Args:
        arm: arm to train.
        seed: seed of the run.
        folder: folder of the run.
        options: `--cfg-options` of training and test. Defaults to none.
        test_options: further `--cfg-options` of the test. Defaults to none.
        tests: configs of the tests by the prefix of their metrics. Defaults to the arm's config.
        cache: folder of the teacher's cache. Defaults to None: no cache.
        cache_options: `--cfg-options` of writing the cache. Defaults to none.
        domain: domain left out of training, on which the best checkpoint is tested. Defaults to None: the
            last checkpoint is tested.
        start: cell to run first, whose last backbone initialises this one. Defaults to None.
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
    start: Job | None = None

    @property
    def name(self) -> str:
        """Name in messages."""
        left_out = '' if self.domain is None else f', {self.domain} left out'
        return f'{self.arm.name}{left_out}, seed {self.seed}'

    @property
    def key(self) -> tuple[str, int, str | None]:
        """Arm, seed and domain, unique within the study."""
        return self.arm.name, self.seed, self.domain

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the configs."""
        return {} if self.domain is None else {DOMAIN_VARIABLE: self.domain}

    @property
    def _mark_file(self) -> Path:
        return self.folder / 'cell.json'

    @cached_property
    def mark(self) -> RunMark:
        """Mark in the folder of the cell, with test metrics and machine once the cell is finished."""
        return RunMark(self._mark_file, self.identity)

    def config(self) -> Config:
        """Return the config of the run with all options."""
        return read_config(self.arm.config, self.options, self.domain)

    @cached_property
    def identity(self) -> str:
        """Digest of the config and of the tests, independent of the path of the cache."""
        cfg = self.config()
        if cfg.model.get('teacher'):
            cfg.model.teacher.pop('cache', None)
        roots = tuple(os.environ.get(root) for root in ROOTS)
        settings: list[object] = [_test_settings(test, roots) for test in self.tests.values()]
        if self.start is not None:
            settings.append(self.start.identity)
        return settings_digest(cfg.to_dict(), self.cache is not None, self.test_options, *settings)

    @property
    def measures_localization(self) -> bool:
        """Whether a test of the cell measures localization."""
        return any(map(measures_localization, self.tests.values()))

    def teacher_seconds(self) -> float | None:
        """Return the seconds of writing the caches of this cell and its start cell; None if unknown."""
        cache_seconds = 0.0 if self.cache is None else read_seconds(cache_clock_file(self.cache))
        start_seconds = 0.0 if self.start is None else self.start.teacher_seconds()
        return None if cache_seconds is None or start_seconds is None else cache_seconds + start_seconds

    def result(self) -> dict | None:
        """Return the content of the mark, or None if the cell is not finished.

        Raises:
            UsageError: if the cell was started with other settings.
        """
        # Computing the identity is slow, and most cells have no mark to compare with.
        if not self._mark_file.exists():
            return None
        content = self.mark.read()
        return content if 'test' in content else None

    def checkpoint(self) -> Path:
        """Return the checkpoint to test.

        Raises:
            UsageError: if a domain is left out and no best checkpoint was saved.
        """
        if self.domain is not None:
            return best_checkpoint(self.folder)
        return Path((self.folder / 'last_checkpoint').read_text())

    def cache_command(self, launcher: Launcher) -> list[str]:
        """Return the command that writes the cache."""
        options = ['--cfg-options', *self.cache_options] if self.cache_options else []
        return [*launcher.cache_command(self.arm.config), '--out', str(self.cache), *options]

    def train_command(self, launcher: Launcher, cfg: Config) -> list[str]:
        """Return the command that starts or resumes the training."""
        command = launcher.command('train', self.arm.config, self.folder)
        batch = batch_options(self, cfg, launcher.gpus or 1)
        return [*command, '--resume', '--cfg-options', *self.options, *batch, *self.start_options()]

    def start_options(self) -> tuple[str, ...]:
        """Return the `--cfg-options` that load the backbone of the start cell."""
        if self.start is None:
            return ()
        epochs = self.start.config().train_cfg.max_epochs
        name = 'model.backbone.init_cfg'
        checkpoint = self.start.folder / f'epoch_{epochs}.pth'
        return (f'{name}.type=Pretrained', f'{name}.checkpoint={checkpoint}', f'{name}.prefix=backbone.')

    def test_commands(self, launcher: Launcher, checkpoint: Path) -> Iterator[tuple[str, Path, list[str]]]:
        """Yield for each test the prefix of its metrics, the file of the metrics, and the command."""
        tests = {f'{name}/' if name else '': config for name, config in self.tests.items()}
        tests = tests or {'': self.arm.config}
        options = self.options
        if self.tests:
            # Configs of the tests ask about concepts for every arm, and use no cache.
            removed = {option for option in options if option_key(option) == CACHE} | {*NO_INTERACTIONS}
            options = tuple(option for option in options if option not in removed)
        for prefix, config in tests.items():
            file = self.folder / 'test' / prefix / 'metrics.json'
            command = launcher.command('test', config, file.parent, checkpoint)
            command += ['--out', str(file), '--out-item', 'metrics', '--cfg-options', *options]
            yield prefix, file, [*command, *self.test_options]


def read_config(config: str, options: Sequence[str] = (), domain: str | None = None) -> Config:
    """Read a config of the repository with options, like the tools.

    Args:
        config: path of the config in the repository, or on disk.
        options: `--cfg-options` as on a command line. Defaults to none.
        domain: domain to leave out, in configs that do so. Defaults to None: the default of the config.
    """
    parser = ArgumentParser()
    add_config_arguments(parser)
    arguments = [str(tools_root() / config), *(['--cfg-options', *options] if options else [])]
    args = parser.parse_args(arguments)
    with _domain_lock, _target_domain(domain):
        return load_config(args.config, args.cfg_options)


@cache
def _test_settings(config: str, roots: tuple[str | None, ...]) -> dict:
    """Settings of a test config, cached for all arms as long as the roots stay the same."""
    return read_config(config).to_dict()


@cache
def measures_localization(config: str) -> bool:
    """Whether a config of the repository measures localization."""
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
    """Return the option of the batch size per process that keeps the total batch size.

    Raises:
        UsageError: if the number of processes does not divide the total batch size.
    """
    name = 'train_dataloader.batch_size'
    total = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if total is None or any(option.startswith(f'{name}=') for option in job.options):
        return []
    if total % processes:
        raise UsageError(f'--gpus {processes} does not divide the batch of {total} of {job.arm.config}')
    return [f'{name}={total // processes}']


def checkpoint_epoch(checkpoint: Path) -> int:
    """Return the epoch, or the iteration, in the name of a checkpoint of CheckpointHook."""
    return int(checkpoint.stem.rsplit('_', 1)[1])


def best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint that CheckpointHook saved.

    Raises:
        UsageError: if there is none.
    """
    checkpoints = sorted(folder.glob('best_*.pth'), key=checkpoint_epoch)
    if not checkpoints:
        raise UsageError(
            f'{folder} has no best checkpoint: the config needs default_hooks.checkpoint.save_best'
        )
    return checkpoints[-1]


def cache_clock_file(cache: Path) -> Path:
    """Return the file with the seconds of writing a cache."""
    return cache.with_name(f'{cache.name}_seconds.json')


def option_key(option: str) -> str:
    """Return the key of an option `KEY=VALUE`."""
    return option.split('=', 1)[0]
