"""Definition of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..arms import Arm, control_references

# Number of seeds for arms far from the method, in studies with more seeds.
FEWER_SEEDS = 3


@dataclass(frozen=True)
class Preset:
    """Study.

    Args:
        about: description of data, schedule and teacher, for the page.
        arms: arms of the study, the baseline first.
        method: name of the arm to judge. Defaults to 'lfi'.
        metrics: test metrics by their names in the log, with a table for each. Defaults to top-1 accuracy.
        validation: validation metric. Defaults to None: the test metric.
        tests: configs of the tests by the prefix of their metrics (`pacs` of `pacs/domain/mean`); '' is no
            prefix. Defaults to the arm's config.
        options: `--cfg-options` of all arms, such as the validation split. Defaults to none.
        test_options: `--cfg-options` of the test, such as the test split. Defaults to none.
        published: gains over the baseline in the paper, by metric, for a column of the table.
        seeds: seeds of the runs. Defaults to (0, 1, 2).
        short: epochs of the method's complete shorter schedules, for the equal finish. Defaults to none.
        leaves_domains_out: whether each domain is left out of training in turn, and tested with the best
            checkpoint on the other domains. Defaults to False.
        seed_options: `--cfg-options` of the seed, with the placeholder `{seed}`.
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
        """Return the seeds of an arm."""
        return self.seeds[: arm.seeds]

    @property
    def negative_controls(self) -> Mapping[str, str]:
        """Names of the negative controls, each with the arm whose knowledge it destroys."""
        return control_references(tuple(arm.name for arm in self.arms))

    @property
    def short_arms(self) -> tuple[Arm, ...]:
        """The method with each of its shorter schedules."""
        methods = [arm for arm in self.arms if arm.name == self.method]
        return tuple(
            replace(method, name=f'{method.name} in {epochs} epochs', epochs=epochs, seeds=FEWER_SEEDS)
            for epochs in self.short
            for method in methods
        )
