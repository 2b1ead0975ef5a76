"""Fault of a full disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from fault_bench import PREPARED_EPOCH, RESUME_ARGUMENTS, Bench, checkpoint, partial_files, require
from fault_row import Row


@contextmanager
def small_disk(bench: Bench) -> Iterator[None]:
    """Mount a small disk as the work dir, with checkpoints and no room for another."""
    size = checkpoint(bench.reference, PREPARED_EPOCH).stat().st_size
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
        can_mount = shutil.which('mount') and not subprocess.run(mount, capture_output=True).returncode
        if can_mount:
            subprocess.run(['umount', probe], check=True)
    yield from (disk_full_by_tmpfs if can_mount else disk_full_by_limit)(bench)


def disk_full_by_tmpfs(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        with small_disk(bench):
            error = refuse_to_save(bench)
            (bench.work / 'ballast').unlink()
            bench.resume()
    yield disk_full_row('a full tmpfs', bench.tries, error)


def disk_full_by_limit(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        newest = bench.prepare()
        error = refuse_to_save(bench, file_limit=newest.stat().st_size // 2)
        bench.resume()
    yield disk_full_row('`RLIMIT_FSIZE` below the size of a checkpoint', bench.tries, error)


def refuse_to_save(bench: Bench, **settings) -> str:
    error = bench.refuse(*RESUME_ARGUMENTS, **settings)
    require('epoch_4.pth' in error and 'cannot be written' in error, f'the error is unclear: {error}')
    require(not partial_files(bench), 'a partial checkpoint was left')
    bench.require_reference(PREPARED_EPOCH)
    return error


def disk_full_row(method: str, tries: int, error: str) -> Row:
    message = re.sub(r'\([\d.]+ MB\)', '(N MB)', error)
    return Row(
        'no room for a checkpoint',
        method,
        tries,
        f'the run ends: "{message}"; with free space, `--resume` continues',
        'the epoch that could not be saved, repeated',
    )
