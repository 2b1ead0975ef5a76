"""Paired timing: two functions alternate, so that drifts of the machine's speed affect both."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lfi.engine.machine import keep_freed_memory


@dataclass(frozen=True)
class PairedTimes:
    """Durations of both functions in seconds, by round."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours / peer."""
        return statistics.median(a / b for a, b in zip(self.ours, self.peer))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile over the rounds of ours / peer."""
        low, _, high = statistics.quantiles([a / b for a, b in zip(self.ours, self.peer)], n=4)
        return low, high

    @property
    def medians(self) -> tuple[float, float]:
        """Medians of both durations in milliseconds."""
        return 1e3 * statistics.median(self.ours), 1e3 * statistics.median(self.peer)

    def row(self, name: str, images: int) -> str:
        """Format a table row: both medians in milliseconds, median and quartiles of the ratio, our images/s.

        Args:
            name: name of the pair.
            images: number of images in a batch.
        """
        (ours, peer), (low, high) = self.medians, self.quartiles
        rate = f'{1e3 * images / ours:,.1f}'
        return f'| {name} | {ours:.1f} | {peer:.1f} | {self.ratio:.3f} | {low:.3f} to {high:.3f} | {rate} |'


HEADER = (
    '| what | ours, ms | peer, ms | ratio, median of pairs | quartiles | ours, images/s |\n'
    '| --- | --- | --- | --- | --- | --- |'
)


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the argument ``--rounds``."""
    parser.add_argument('--rounds', type=_two_or_more, default=default, help='pairs to time (%(default)s)')


def time_pairs(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> PairedTimes:
    """Time two functions alternately, after one warm-up call of each; the order swaps every round."""
    if not torch.cuda.is_available():
        # The command-line tools do so too.
        keep_freed_memory()
    seconds: dict[Callable, list[float]] = {ours: [], peer: []}
    ours(), peer()
    for i in range(rounds):
        for function in (ours, peer) if i % 2 else (peer, ours):
            _synchronize()
            start = time.perf_counter()
            function()
            _synchronize()
            seconds[function].append(time.perf_counter() - start)
    return PairedTimes(tuple(seconds[ours]), tuple(seconds[peer]))


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _two_or_more(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f'must be 2 or more, for quartiles, got {text!r}')
    return int(text)
