"""Faults of a teacher's cache: changed, truncated, corrupted, unfinished, or of other data."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

from fault_bench import Bench, require
from fault_row import Row
from lfi.models.teachers.loading.weights import BUILT_IN
from safetensors.torch import load_file, save_file


def teacher_cache(bench: Bench) -> Iterator[Row]:
    teacher, cache = bench.folder / 'teacher', bench.folder / 'cache'
    for folder in (teacher, cache):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUILT_IN / 'shapes-tiny', teacher)
    teacher_option = 'model.teacher.model=./teacher'
    cached = (teacher_option, 'model.teacher.cache=cache')
    write = ('--out', 'cache', '--num-workers', '0')

    def refuse(fault: str, method: str, message: str, *options: str) -> Row:
        bench.clear()
        error = bench.refuse('--work-dir', 'work', options=(*cached, *options))
        require(re.search(message, error), f'the error lacks {message!r}: {error}')
        sentence = re.sub(r'\b[0-9a-f]{32}\b', '…', error).split('. ')[0]
        return Row(fault, method, 1, f'training is refused: "{sentence}"')

    bench.run(*write, command='cache', options=(teacher_option,))
    bench.clear()
    bench.run('--work-dir', 'work', options=(*cached, 'train_cfg.max_epochs=1'))
    complete = shutil.copytree(cache, bench.folder / 'complete cache', dirs_exist_ok=True)

    weights = teacher / 'model.safetensors'
    original = weights.read_bytes()
    tensors = load_file(weights)
    next(iter(tensors.values())).flatten()[0] += 1
    save_file(tensors, weights)
    yield refuse(
        "the teacher's weights change under a cache", 'one changed number in the file', 'teacher.weights is'
    )
    weights.write_bytes(original)

    foreign = "another teacher's cache"
    yield refuse(foreign, 'another `input_size`', 'teacher.input_size is', 'model.teacher.input_size=96')
    other_data = 'train_dataloader.dataset.seed=1'
    yield refuse('a cache of other images', 'another seed of Shapes', 'cache has no maps of', other_data)

    def restore() -> None:
        shutil.copytree(complete, cache, dirs_exist_ok=True)

    shard = cache / 'shard-00000.safetensors'
    os.truncate(shard, int(bench.random.random() * shard.stat().st_size))
    yield refuse(
        'a truncated cache', 'a shard is truncated', 'shard-00000.safetensors is missing or corrupted'
    )
    restore()
    content = bytearray(shard.read_bytes())
    # The last nine tenths are records.
    content[bench.random.randrange(len(content) // 10, len(content))] ^= 0xFF
    shard.write_bytes(content)
    yield refuse(
        'a corrupted cache', 'one byte of a shard', 'shard-00000.safetensors is corrupted or was changed'
    )
    restore()
    (cache / 'index.npy').unlink()
    yield refuse('an unfinished cache', 'no index', 'cache is unfinished')
    restore()
    manifest = cache / 'manifest.json'
    os.truncate(manifest, manifest.stat().st_size // 2)
    yield refuse('a truncated manifest', 'half of the file', 'manifest.json is corrupted')
