"""Study that leaves each domain out in turn, and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lfi.utils import markdown

from .convergence import same_schedule_table
from .paired import mean_and_spread, paired_difference
from .runs import Run, metric_name
from .study import Cell, Key, mean_teacher_seconds, teacher_sentence

# Validation metric that selects the checkpoint.
VALIDATION = 'domain/mean'


@dataclass(frozen=True)
class DomainStudy:
    """Cells of all arms, domains and seeds.

    Args:
        cells: cells by arm name, the baseline first. Tables skip domains and seeds that an arm lacks.
    """

    cells: Mapping[str, Sequence[Cell]]

    @property
    def baseline(self) -> str:
        """Name of the first arm."""
        return next(iter(self.cells))

    @property
    def methods(self) -> list[str]:
        """Names of all arms but the first."""
        return list(self.cells)[1:]

    def _shared(self) -> tuple[list[str], list[int]]:
        """Domains that all arms have, and seeds that all arms have for each of these domains."""
        by_arm = [{(cell.domain, cell.seed): cell for cell in cells} for cells in self.cells.values()]
        pairs = set.intersection(*map(set, by_arm))
        order = [(cell.domain, cell.seed) for cell in self.cells[self.baseline]]
        domains = list(dict.fromkeys(domain for domain, seed in order if domain and (domain, seed) in pairs))
        seeds = list(dict.fromkeys(seed for _, seed in order))
        return domains, [seed for seed in seeds if all((domain, seed) in pairs for domain in domains)]

    def rows(self) -> list[dict]:
        """Rows for each domain, their mean, and the worst domain.

        Returns:
            Dicts with `domain`; `accuracy`, the values of each arm seed by seed; and `difference`, the mean,
            low and high end of the paired difference from the first arm, for each other arm. Empty if the
            arms share no domain or no seed.
        """
        domains, seeds = self._shared()
        if not domains or not seeds:
            return []
        value = {
            (arm, cell.domain, cell.seed): cell.test for arm, cells in self.cells.items() for cell in cells
        }
        table = np.array(
            [[[value[arm, domain, seed] for seed in seeds] for domain in domains] for arm in self.cells]
        )  # [arm, domain, seed]
        rows = np.concatenate((table, table.mean(1, keepdims=True), table.min(1, keepdims=True)), 1)
        return [
            dict(
                domain=name,
                accuracy={arm: rows[i, j].tolist() for i, arm in enumerate(self.cells)},
                difference={
                    arm: paired_difference(rows[0, j], rows[i, j])
                    for i, arm in enumerate(self.cells)
                    if i and len(seeds) > 1
                },
            )
            for j, name in enumerate((*domains, 'mean', 'worst'))
        ]

    def table(self) -> str:
        """Return `rows` as Markdown."""
        pairs = (title for method in self.methods for title in (method, 'difference, 95 % interval'))
        titles = ['left out', self.baseline, *pairs]
        lines = []
        for row in self.rows():
            cells = [row['domain'], mean_and_spread(row['accuracy'][self.baseline])]
            for method in self.methods:
                cells += [mean_and_spread(row['accuracy'][method]), str(row['difference'].get(method, '–'))]
            lines.append(cells)
        return markdown.table(titles, lines)

    def convergence(self) -> list[str]:
        """Return text and table on the speed-up of each method over the baseline, over domains and seeds."""
        domains, seeds = self._shared()
        pairs = [(domain, seed) for seed in seeds for domain in domains]
        grid = {arm: {(cell.domain, cell.seed): cell for cell in cells} for arm, cells in self.cells.items()}
        parts = []
        for method in self.methods:
            reference, cells = ([grid[arm][pair] for pair in pairs] for arm in (self.baseline, method))
            seconds = {self.baseline: mean_teacher_seconds(reference), method: mean_teacher_seconds(cells)}
            parts += [
                f"How much sooner {method} holds a share of {self.baseline}'s best, on the held-out images "
                f'of the training domains, over {len(pairs)} pairs of a domain and a seed.'
                f'{teacher_sentence(seconds)}',
                same_schedule_table(
                    [cell.run for cell in reference],
                    [cell.run for cell in cells],
                    seconds[method],
                    seeds=[seed for _, seed in pairs],
                    baseline_teacher_seconds=seconds[self.baseline],
                ),
            ]
        return parts

    def report(self) -> str:
        """Return the table, its protocol and the speed-ups, as Markdown."""
        shared = self._shared()
        if not all(shared):
            return (
                f'{", ".join(self.cells)} have not left out the same domains with the same seeds yet: there '
                'is nothing to compare.'
            )
        seeds = ', '.join(map(str, shared[1]))
        machines = sorted({cell.machine for cells in self.cells.values() for cell in cells})
        epochs = self.cells[self.baseline][0].run.length
        parts = [
            self.table(),
            'Top-1 on the domain left out, in per cent, of the epoch with the best mean accuracy on held-out '
            f'images of the training domains. Seeds {seeds}: mean ± standard deviation; differences from the '
            "first are those of the pairs with the same seed, with their 95 % interval by Student's t. "
            f'{epochs} epochs. Ran on {"; ".join(machines)}.',
            *self.convergence(),
        ]
        return '\n\n'.join(parts)

    def content(self) -> dict:
        """Return all numbers in the format of `read_domain_cells`."""
        order = {arm: i for i, arm in enumerate(self.cells)}
        pairs = [(cell, arm) for arm, cells in self.cells.items() for cell in cells]
        seeds = list(dict.fromkeys(cell.seed for cell, _ in pairs))
        pairs.sort(key=lambda pair: (seeds.index(pair[0].seed), pair[0].domain or '', order[pair[1]]))
        return dict(cells=[_as_dict(arm, cell) for cell, arm in pairs], leave_one_out=self.rows())


def _as_dict(arm: str, cell: Cell) -> dict:
    return dict(
        identity=cell.identity,
        arm=arm,
        domain=cell.domain,
        seed=cell.seed,
        accuracy=cell.test,
        validation=cell.run.best,
        curve=list(cell.run.accuracy),
        epochs=list(cell.run.epochs),
        training_seconds=cell.run.seconds,
        epoch=cell.epoch,
        machine=cell.machine,
        teacher_seconds=cell.teacher_seconds,
    )


def read_domain_cells(path: str | Path) -> dict[Key, Cell]:
    """Read the cells of a file with `DomainStudy.content`, by arm, seed and domain."""
    cells: dict[Key, Cell] = {}
    for row in json.loads(Path(path).read_text())['cells']:
        curve, epochs = tuple(row['curve']), tuple(row['epochs'])
        run = Run(row['arm'], curve, row['training_seconds'], {}, metric_name(VALIDATION), epochs)
        cells[row['arm'], row['seed'], row['domain']] = Cell(
            row['seed'],
            run,
            row['accuracy'],
            row['machine'],
            row['identity'],
            row['teacher_seconds'],
            row['domain'],
            row['epoch'],
        )
    return cells
