"""A disk that is full."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from fault_bench import (
    PREPARED,
    RESUMED,
    Bench,
    checkpoint,
    partial_files,
    require,
)
from fault_row import Row


@contextmanager
def small_disk(bench: Bench) -> Iterator[None]:
    """A disk of its own for the work dir, with checkpoints on it, and no room for another."""
    size = checkpoint(bench.reference, PREPARED).stat().st_size
    bench.clear()
    bench.work.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', f'size={8 * size}', 'tmpfs', str(bench.work)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        bench.fill()
        free = os.statvfs(bench.work)
        (bench.work / 'ballast').write_bytes(bytes(free.f_bavail * free.f_bsize - size // 2))
        yield
    finally:
        subprocess.run(['umount', str(bench.work)], check=True)


def disk_full(bench: Bench) -> Iterator[Row]:
    with TemporaryDirectory() as probe:
        mount = ['mount', '-t', 'tmpfs', 'tmpfs', probe]
        may_mount = shutil.which('mount') and not subprocess.run(mount, capture_output=True).returncode
        if may_mount:
            subprocess.run(['umount', probe], check=True)
    yield from (disk_full_by_tmpfs if may_mount else disk_full_by_limit)(bench)


def disk_full_by_tmpfs(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        with small_disk(bench):
            error = refuse_to_save(bench)
            (bench.work / 'ballast').unlink()
            bench.go_on()
    yield disk_full_row('a tmpfs, filled up', bench.tries, error)


def disk_full_by_limit(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        newest = bench.prepare()
        error = refuse_to_save(bench, file_limit=newest.stat().st_size // 2)
        bench.go_on()
    yield disk_full_row('`RLIMIT_FSIZE` below the size of a checkpoint', bench.tries, error)


def refuse_to_save(bench: Bench, **settings) -> str:
    error = bench.refuse(*RESUMED, **settings)
    require('epoch_4.pth' in error and 'cannot be written' in error, f'the error is unclear: {error}')
    require(not partial_files(bench), 'a part of a checkpoint was left')
    bench.require_reference(PREPARED)
    return error


def disk_full_row(made: str, tried: int, error: str) -> Row:
    said = re.sub(r'\([\d.]+ MB\)', '(N MB)', error)
    return Row(
        'no room for a checkpoint',
        made,
        tried,
        f'the run ends: "{said}"; with room again, `--resume` goes on',
        'the epoch that could not be saved, done again',
    )
