"""One cell of a study: an arm with a seed, with one domain left out where domains are."""

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
from .stopwatch import seconds_of

# Which domain a config leaves out of training.
DOMAIN_VARIABLE = 'LFI_TARGET_DOMAIN'
# A cache holds the training images alone.
CACHE = 'model.teacher.cache'
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
        start: the cell that is run before, with whose last backbone this one begins. Defaults to none.
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

    @property
    def _mark_file(self) -> Path:
        return self.folder / 'cell.json'

    @cached_property
    def mark(self) -> RunMark:
        """What the cell leaves; once it is finished, its test metrics and its machine are there."""
        return RunMark(self._mark_file, self.identity)

    def config(self) -> Config:
        """The config of the run, with all options."""
        return read_config(self.arm.config, self.options, self.domain)

    @cached_property
    def identity(self) -> str:
        """A digest of the config and of what is tested; where a cache lies does not matter."""
        cfg = self.config()
        if cfg.model.get('teacher'):
            cfg.model.teacher.pop('cache', None)
        roots = tuple(os.environ.get(root) for root in ROOTS)
        further: list[object] = [_settings_of_test(test, roots) for test in self.tests.values()]
        if self.start is not None:
            further.append(self.start.identity)
        return settings_digest(cfg.to_dict(), self.cache is not None, self.test_options, *further)

    @property
    def measures_localization(self) -> bool:
        """Whether its tests measure where the student looks, too."""
        return any(map(measures_localization, self.tests.values()))

    def teacher_seconds(self) -> float | None:
        """What writing its cache took, and that of the training before it; None where it is not known."""
        own = 0.0 if self.cache is None else seconds_of(clock_of(self.cache))
        before = 0.0 if self.start is None else self.start.teacher_seconds()
        return None if own is None or before is None else own + before

    def result(self) -> dict | None:
        """What it left when it was finished in its folder, or None.

        Raises:
            UsageError: if it was started there with other settings.
        """
        # Its identity is read from its configs, which takes long, and most cells have nothing to compare.
        if not self._mark_file.exists():
            return None
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

    def cache_command(self, launcher: Launcher) -> list[str]:
        """One look of the teacher at each training image, for all that share the cache."""
        options = ['--cfg-options', *self.cache_options] if self.cache_options else []
        return [*launcher.cache_command(self.arm.config), '--out', str(self.cache), *options]

    def train_command(self, launcher: Launcher, cfg: Config) -> list[str]:
        """Training, or going on where it was stopped."""
        command = launcher.command('train', self.arm.config, self.folder)
        batch = batch_options(self, cfg, launcher.gpus or 1)
        return [*command, '--resume', '--cfg-options', *self.options, *batch, *self.start_options()]

    def start_options(self) -> tuple[str, ...]:
        """`--cfg-options` of training by which its backbone begins where the cell before has ended."""
        if self.start is None:
            return ()
        epochs = self.start.config().train_cfg.max_epochs
        name = 'model.backbone.init_cfg'
        checkpoint = self.start.folder / f'epoch_{epochs}.pth'
        return (f'{name}.type=Pretrained', f'{name}.checkpoint={checkpoint}', f'{name}.prefix=backbone.')

    def test_commands(self, launcher: Launcher, checkpoint: Path) -> Iterator[tuple[str, Path, list[str]]]:
        """What begins the names of the metrics, the file that gets them, and the command, of each test."""
        tests = {f'{name}/' if name else '': config for name, config in self.tests.items()}
        tests = tests or {'': self.arm.config}
        options = self.options
        if self.tests:
            # The config of the tests asks about concepts, whoever is tested.
            unfit = {option for option in options if key_of(option) == CACHE} | {*NO_INTERACTIONS}
            options = tuple(option for option in options if option not in unfit)
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
    parser = ArgumentParser()
    add_config_arguments(parser)
    arguments = [str(tools_root() / config), *(['--cfg-options', *options] if options else [])]
    args = parser.parse_args(arguments)
    with _domain_lock, _target_domain(domain):
        return load_config(args.config, args.cfg_options)


@cache
def _settings_of_test(config: str, roots: tuple[str | None, ...]) -> dict:
    """Those of a test by a config of the repository, which all arms share, while the roots are these."""
    return read_config(config).to_dict()


@cache
def measures_localization(config: str) -> bool:
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


def key_of(option: str) -> str:
    """What an option `KEY=VALUE` changes."""
    return option.split('=', 1)[0]
