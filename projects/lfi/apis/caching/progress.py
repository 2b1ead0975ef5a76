"""Progress of a cache of tar shards, as its folder shows it to any machine."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tqdm import tqdm

from lfi.structures.interaction_cache import sidecar_name
from lfi.utils.stores import join, list_files, local_path

from .sidecar_writing import FAILED

RATE_SECONDS = 3600.0
"""Seconds before the latest sidecar over which the rate is measured."""


@dataclass(frozen=True)
class CacheProgress:
    """Progress of a cache. It prints as lines of text.

    Args:
        done: number of tar files with a sidecar.
        total: number of tar files.
        num_bytes: size of the sidecars in bytes.
        rate: sidecars in an hour, by the latest hour of writing; 0 if fewer than two were written.
        window: seconds over which the rate is measured.
        idle: seconds since the latest sidecar was written; NaN before the first.
        failures: reasons by tar file.
    """

    done: int
    total: int
    num_bytes: int
    rate: float
    window: float
    idle: float
    failures: dict[str, str]

    def __str__(self) -> str:
        share = self.done / self.total
        size = tqdm.format_sizeof(self.num_bytes, 'B')
        lines = [f'{self.done:,} of {self.total:,} tar shards ({share:.1%}), {size}']
        if self.rate:
            left = (self.total - self.done) / self.rate
            end = f', {left:.1f} hours left at this rate' if left else ''
            lines.append(
                f'{self.rate:,.0f} shards an hour over {self.window / 60:.0f} minutes, the latest '
                f'{self.idle:.0f} s ago{end}'
            )
        lines += [f'failed: {tar}: {reason}' for tar, reason in self.failures.items()]
        return '\n'.join(lines)


def cache_progress(folder: str, tars: Sequence[str]) -> CacheProgress:
    """Return the progress of a cache of tar files.

    Args:
        folder: folder of the cache, or its address in a store.
        tars: tar files of the training.

    Raises:
        StoreError: if the store cannot be read.
    """
    files = list_files(folder)
    done = [files[name] for tar in tars if (name := sidecar_name(tar)) in files]
    times = sorted(entry.modified for entry in done)
    recent = [moment for moment in times if moment > times[-1] - RATE_SECONDS]
    # The first one began before its own time.
    window = recent[-1] - recent[0] if recent else 0.0
    failures = {}
    for tar in tars:
        name = f'{sidecar_name(tar)}{FAILED}'
        if name in files and sidecar_name(tar) not in files:
            # A writer removes it when it has mended the failure.
            with suppress(FileNotFoundError):
                failures[tar] = _reason(local_path(join(folder, name)).read_text(errors='replace'))
    return CacheProgress(
        len(done),
        len(tars),
        sum(entry.size for entry in done),
        3600 * (len(recent) - 1) / window if window else 0.0,
        window,
        time.time() - times[-1] if times else float('nan'),
        failures,
    )


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)['reason'])
    except (ValueError, KeyError, TypeError):
        return 'unknown'
