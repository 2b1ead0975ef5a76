"""What a study is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..arms import Arm, compared_with

# Of arms that are far from the method, in studies of more.
FEWER_SEEDS = 3


@dataclass(frozen=True)
class Preset:
    """A study.

    Args:
        about: data, schedule, what stands behind the numbers.
        arms: the baseline first.
        method: the arm to be judged.
        metrics: of the test, by their names in the log; a table for each.
        validation: metric of the validation. Defaults to that of the test.
        tests: configs of the tests, by the names that begin their metrics (`pacs/domain/mean`); '' begins
            none. Defaults to the arm's own config.
        options: `--cfg-options` of all arms, such as a validation split that is not the test's.
        test_options: `--cfg-options` of testing, such as another split.
        published: the paper's own gains over its baseline, by metric, for a column of their own.
        seeds: Defaults to (0, 1, 2).
        short: epochs of the method's complete shorter schedules, for the equal finish. Defaults to none.
        leaves_domains_out: whether each domain of the data is left out of training in turn, and tested by the
            checkpoint that is best on the others. Defaults to False.
        seed_options: `--cfg-options` in which `{seed}` stands for the run's seed.
    """

    about: str
    arms: tuple[Arm, ...]
    method: str = 'lfi'
    metrics: tuple[str, ...] = ('accuracy/top1',)
    validation: str | None = None
    tests: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    test_options: tuple[str, ...] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    short: tuple[int, ...] = ()
    leaves_domains_out: bool = False
    seed_options: tuple[str, ...] = ('randomness.seed={seed}',)

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """Those that an arm runs with."""
        return self.seeds[: arm.seeds]

    @property
    def negative_controls(self) -> Mapping[str, str]:
        """The negative controls, each with the arm whose image-specific knowledge it destroys."""
        return compared_with(tuple(arm.name for arm in self.arms))

    @property
    def short_arms(self) -> tuple[Arm, ...]:
        """The method in its shorter schedules."""
        methods = [arm for arm in self.arms if arm.name == self.method]
        return tuple(
            replace(method, name=f'{method.name} in {epochs} epochs', epochs=epochs, seeds=FEWER_SEEDS)
            for epochs in self.short
            for method in methods
        )
