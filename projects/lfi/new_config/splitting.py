"""Validation images: a seeded part of the training images, without copies of them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import hash_files

from .labelled_image import FoundData, LabelledImage

SHARE, SEED = 0.2, 0


def check_splits(data: FoundData) -> FoundData:
    """Split off a validation if there is none, and leave copies of its images out of the training images.

    A fifth of the training images of each class is split off, by the seed 0. Copies of a file stay on one
    side. Copies under different classes are noted. Images without labels are left as they are.

    Raises:
        UsageError: if a class has a single image and there is no validation, or all training images are
            copies of validation images.
    """
    if data.task == 'pretraining':
        return data
    groups = _groups_of_copies(data.root, (*data.train, *data.val))
    data = replace(data, notes=(*data.notes, *_conflicts(data, groups)))
    return _without_leaks(data, groups) if data.val else _split(data, groups)


def _split(data: FoundData, groups: Iterable[list[LabelledImage]]) -> FoundData:
    by_class: dict[int, list[list[LabelledImage]]] = defaultdict(list)
    for copies in groups:
        by_class[min(copies[0].classes, default=-1)].append(copies)
    generator, train, val = random.Random(SEED), list[LabelledImage](), list[LabelledImage]()
    for index in sorted(by_class):
        of_class = by_class[index]
        if len(of_class) < 2 and data.task == 'classification':
            raise UsageError(
                f'the class {data.classes[index]!r} has one image ({of_class[0][0].path}), and training and '
                'validation need one each: add images, or remove the class'
            )
        generator.shuffle(of_class)
        count = max(1, round(SHARE * len(of_class))) if len(of_class) > 1 else 0
        val += [image for copies in of_class[:count] for image in copies]
        train += [image for copies in of_class[count:] for image in copies]
    if not train or not val:
        raise UsageError(f'{data.root} has {len(data.train)} images: training and validation need two')
    note = (
        f'{len(val)} of {len(data.train)} images were split off for validation (a fifth of each class, '
        f'seed {SEED})'
    )
    return replace(data, train=_sorted(train), val=_sorted(val), notes=(*data.notes, note))


def _without_leaks(data: FoundData, groups: Iterable[list[LabelledImage]]) -> FoundData:
    in_val = {image.path for image in data.val}
    leaks = {
        image.path
        for copies in groups
        if any(image.path in in_val for image in copies)
        for image in copies
        if image.path not in in_val
    }
    if not leaks:
        return data
    train = tuple(image for image in data.train if image.path not in leaks)
    if not train:
        raise UsageError(
            f'all {len(data.train)} training images of {data.root} are validation images too: give other ones'
        )
    note = (
        f'training images that are copies of validation images were left out: {len(leaks)}, such as '
        f'{min(leaks)}'
    )
    return replace(data, train=train, notes=(*data.notes, note))


def _conflicts(data: FoundData, groups: Iterable[Sequence[LabelledImage]]) -> list[str]:
    """Return a note about files of the same bytes and different classes, or none."""
    conflicts = [copies for copies in groups if len({image.classes for image in copies}) > 1]
    if not conflicts:
        return []
    first = conflicts[0][0]
    other = next(image for image in conflicts[0] if image.classes != first.classes)
    of_first, of_other = (
        ' and '.join(data.classes[index] for index in image.classes) or 'no class' for image in (first, other)
    )
    return [
        f'images that are the same file under different classes: {len(conflicts)}, such as {first.path} '
        f'({of_first}) and {other.path} ({of_other})'
    ]


def _groups_of_copies(root: Path, images: Sequence[LabelledImage]) -> list[list[LabelledImage]]:
    """Group images whose files have the same bytes, in the order of the images."""
    sizes: dict[int, int] = defaultdict(int)
    lengths = [(root / image.path).stat().st_size for image in images]
    for length in lengths:
        sizes[length] += 1
    groups: dict[object, list[LabelledImage]] = {}
    for image, length in zip(images, lengths):
        # Files of different lengths are no copies, so that most files are not read.
        key = image.path if sizes[length] == 1 else (length, hash_files(sha256(), root / image.path).digest())
        groups.setdefault(key, []).append(image)
    return list(groups.values())


def _sorted(images: Iterable[LabelledImage]) -> tuple[LabelledImage, ...]:
    return tuple(sorted(images, key=lambda image: image.path))
