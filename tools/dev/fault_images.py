"""Faults of images: unreadable files, and NaN pixels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from fault_bench import BATCH_SIZE, NUM_IMAGES, Bench, checkpoint, require
from fault_row import Row
from lfi.datasets import Shapes
from lfi.engine.checkpoints.reading import load_from_local
from PIL import Image


def write_images(bench: Bench) -> list[Path]:
    """Write images of Shapes as JPEG files in the layout of Tiny-ImageNet."""
    root = bench.folder / 'images'
    shutil.rmtree(root, ignore_errors=True)
    data = Shapes('train', NUM_IMAGES)
    names = data.class_names()
    paths, boxes = [], {name: [] for name in names}
    for i in range(NUM_IMAGES):
        info = data.get_data_info(i)
        name = names[info['gt_label']]
        path = root / 'train' / name / 'images' / f'{i:03}.JPEG'
        path.parent.mkdir(parents=True, exist_ok=True)
        # Shapes gives BGR, PIL takes RGB.
        Image.fromarray(info['img'][..., ::-1]).save(path)
        boxes[name].append('\t'.join([path.name, *(str(int(x)) for x in info['gt_bboxes'][0])]))
        paths.append(path)
    for name, lines in boxes.items():
        (root / 'train' / name / f'{name}_boxes.txt').write_text('\n'.join(lines))
    (root / 'wnids.txt').write_text('\n'.join(names))
    (root / 'words.txt').write_text('\n'.join(f'{name}\t{name}' for name in names))
    return paths


def unreadable_images(bench: Bench) -> Iterator[Row]:
    paths = write_images(bench)
    truncated, empty, text = unreadable = bench.random.sample(paths, 3)
    os.truncate(truncated, truncated.stat().st_size // 2)
    empty.write_bytes(b'')
    text.write_text('not an image')
    method = 'one truncated file, one empty, one with text'
    new, one_epoch = ('--work-dir', 'work'), 'train_cfg.max_epochs=1'

    bench.clear()
    output = bench.run(*new, config='files.py', options=(one_epoch,))
    for path in unreadable:
        lines = [line for line in output.splitlines() if path.name in line and 'cannot be read' in line]
        require(len(lines) == 1, f'{path.name} is named {len(lines)} times')
    require('3 images cannot be read, and were left out' in output, 'the unreadable images are not counted')
    (listed,) = bench.work.glob('*/unreadable.txt')
    require(len(listed.read_text().splitlines()) == 3, 'the unreadable images are not listed')
    yield Row(
        'unreadable images',
        method,
        1,
        'another image replaces each; each file is named once, counted, and listed in `unreadable.txt`',
        'these images',
    )

    bench.clear()
    error = bench.refuse(*new, config='files.py', options=(one_epoch, 'max_unreadable=0'))
    message = 'this image cannot be read'
    named = any(path.name in error for path in unreadable)
    require(message in error and named, f'the error is unclear: {error}')
    yield Row(
        'unreadable images, `max_unreadable=0`',
        method,
        1,
        f'the run ends at the first: "{message}", and names the file',
        'the epoch so far',
    )

    for path in paths:
        path.write_bytes(b'')
    bench.clear()
    error = bench.refuse(*new, config='files.py', options=(one_epoch,))
    message = 'none of the 20 checked images can be read'
    require(message in error, f'the error is unclear: {error}')
    yield Row('unreadable images', 'all files are empty', 1, f'the run ends: "{message}"')


def nan_images(bench: Bench) -> Iterator[Row]:
    # Order of DefaultSampler in the first epoch, with seed 0.
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(0)).tolist()
    first, second, third = order[::BATCH_SIZE]
    method = 'an image of NaN pixels in the batch'
    new = ('--work-dir', 'work')

    bench.clear()
    error = bench.refuse(*new, POISONED=str(second))
    for part in ('loss', ' is nan at epoch 1, iteration 2', f'/{second}'):
        require(part in error, f'the error lacks {part!r}: {error}')
    terms = error.split(' at epoch')[0]
    yield Row(
        'NaN in a batch',
        method,
        1,
        f'the run ends: "{terms} at epoch 1, iteration 2", and names the images',
        'the epoch so far',
    )

    skip = 'default_hooks.non_finite.max_skips=1'
    bench.clear()
    output = bench.run(*new, options=(skip, 'train_cfg.max_epochs=3'), POISONED=str(second))
    require('3 updates were skipped because of NaN' in output, 'the updates are not counted')
    state = load_from_local(str(checkpoint(bench.work, 3)))
    require(all(value.isfinite().all() for value in state['state_dict'].values()), 'a weight is NaN')
    yield Row(
        'NaN in a batch, `non_finite.max_skips=1`',
        f'{method}, three epochs',
        1,
        'each such update is skipped, named and counted; all weights stay finite',
        'these updates',
    )

    bench.clear()
    error = bench.refuse(*new, options=(skip,), POISONED=f'{second} {third}')
    require('one more in a row than max_skips=1' in error, f'the error is unclear: {error}')
    yield Row(
        'NaN in a batch, `non_finite.max_skips=1`',
        'an image of NaN pixels in two batches in a row',
        1,
        'the run ends, and reports one more in a row than allowed',
        'the epoch so far',
    )

    bench.clear()
    error = bench.run(*new, code=1, options=(skip,), POISONED=str(first)).splitlines()[-1]
    message = 'logits hold a non-finite value'
    require(message in error and f'/{first}' in error, f'the error is unclear: {error}')
    yield Row(
        'NaN in the first batch, with any `max_skips`',
        method,
        1,
        f'the first check of the teacher\'s maps ends the run: "{message}", and names the images',
    )
