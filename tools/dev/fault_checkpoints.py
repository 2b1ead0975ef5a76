"""Faults of checkpoints: truncated, changed or hostile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from fault_bench import PREPARED_EPOCH, Bench, checkpoint, require
from fault_row import Row
from hostile_files import BOMB, CONTRADICTORY, CRASHING, shorten_storage, write_hostile
from lfi.engine.checkpoints.reading import load_from_local


def truncated_checkpoint(bench: Bench) -> Iterator[Row]:
    def damage(path: Path) -> None:
        os.truncate(path, int(bench.random.random() * path.stat().st_size))

    fall_back(bench, damage)
    yield fall_back_row('the newest checkpoint is truncated', 'at a random byte', bench.tries)


def changed_checkpoint(bench: Bench) -> Iterator[Row]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        # 100 bytes exceed the padding between two records, whose change has no effect.
        start = bench.random.randrange(len(content) - 100)
        content[start : start + 100] = (byte ^ 0xFF for byte in content[start : start + 100])
        path.write_bytes(content)

    fall_back(bench, damage)
    yield fall_back_row(
        'bytes of the newest checkpoint change', '100 inverted bytes from a random position', bench.tries
    )


def fall_back(bench: Bench, damage: Callable[[Path], None]) -> None:
    """Damage the newest checkpoint, and check that the run resumes from the one before."""
    for _ in range(bench.tries):
        damage(bench.prepare())
        output = bench.resume()
        for message in ('work/epoch_3.pth is corrupted', 'Resuming from work/epoch_2.pth instead'):
            require(message in output, f'the log lacks {message!r}')


def fall_back_row(fault: str, method: str, tries: int) -> Row:
    effect = '`--resume` warns, names the file, and continues from the previous one'
    return Row(fault, method, tries, effect, 'the epoch of the damaged file, repeated')


class MakeFolder:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def malicious_checkpoint(bench: Bench) -> Iterator[Row]:
    mark, file = bench.folder / 'mark', bench.folder / 'malicious.pth'
    content = load_from_local(str(checkpoint(bench.reference, PREPARED_EPOCH)))
    torch.save({**content, 'payload': MakeFolder(mark)}, file)
    # Check that an unsafe reader runs the code.
    torch.load(file, weights_only=False)
    mark.rmdir()

    new, pretrained = ('--work-dir', 'work'), 'model.backbone.init_cfg'
    ways = {
        '`--resume FILE`': dict(arguments=('--resume', file)),
        '`--resume`, named by `last_checkpoint`': dict(arguments=('--resume',)),
        '`load_from`': dict(options=(f'load_from={file}',)),
        "`init_cfg=dict(type='Pretrained')`": dict(
            options=(f'{pretrained}.type=Pretrained', f'{pretrained}.checkpoint={file}')
        ),
        '`tools/test.py`': dict(command='test', arguments=(file,)),
    }
    shutil.copy(file, bench.prepare())
    for way, settings in ways.items():
        error = bench.refuse(*settings.pop('arguments', ()), *new, **settings)
        require('was refused, and no code of it was run' in error, f'the error is unclear: {error}')
        require(not mark.exists(), 'the code was run')
        yield Row(
            'a checkpoint that runs code when it is unpickled',
            way,
            1,
            'refused in one line that names the file and the function; its code was not run',
        )


def hostile_checkpoint(bench: Bench) -> Iterator[Row]:
    file = bench.folder / 'hostile.pth'
    content = load_from_local(str(checkpoint(bench.reference, PREPARED_EPOCH)))
    for name in CRASHING:
        write_hostile(file, name, content)
        require(bench.exit_code_of(torch.load, file, weights_only=False), 'the file is harmless')
        bench.clear()
        error = bench.refuse('--work-dir', 'work', '--resume', file)
        require('was refused, and no code of it was run' in error, f'the error is unclear: {error}')
        yield Row(
            'a checkpoint that crashes its reader without code',
            f'{name}, `--resume FILE`',
            1,
            'refused in one line that names the file and what it requests; no foreign memory was read',
        )
    for name in CONTRADICTORY:
        write_hostile(file, name, content)
        yield refuse_contradictory(bench, file, name)
    shorten_storage(checkpoint(bench.reference, PREPARED_EPOCH), file)
    yield refuse_contradictory(bench, file, 'a storage smaller than its tensor, with its checksum')
    write_hostile(bench.prepare(), BOMB, content)
    bench.resume()
    effect = 'each tuple is visited once; `--resume` continues'
    yield Row('a checkpoint that delays its reader', f'{BOMB}, `--resume`', 1, effect)


def refuse_contradictory(bench: Bench, file: Path, name: str) -> Row:
    bench.clear()
    error = bench.refuse('--work-dir', 'work', '--resume', file)
    require('is truncated or corrupted' in error, f'the error is unclear: {error}')
    effect = 'refused in one line that names the file and the contradiction'
    return Row('a checkpoint that contradicts itself', f'{name}, `--resume FILE`', 1, effect)
