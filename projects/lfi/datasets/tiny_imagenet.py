"""Tiny-ImageNet in its official layout, or any subset of its classes."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from lfi.registry import DATASETS

SPLITS = ('train', 'val')
# Converts the last pixel of a box to its exclusive end.
TO_EXCLUSIVE_END = np.array([0, 0, 1, 1], np.float32)


def _existing_path(root: Path, name: str, content: str) -> Path:
    path = root / name
    if not path.exists():
        raise FileNotFoundError(
            f'{path} is missing: data_root={str(root)!r} should hold Tiny-ImageNet in its official layout, '
            f'and {name} is {content}. Point data_root at the folder that has wnids.txt; with our configs '
            'set LFI_DATA_ROOT to the folder that holds tiny-imagenet-200'
        )
    return path


def _read_wnids(root: Path) -> list[str]:
    path = _existing_path(root, 'wnids.txt', 'the list of its classes')
    wnids = path.read_text().split()
    if not wnids:
        raise ValueError(f'{path} is empty: it should list one WordNet id a line')
    return wnids


def _class_names(root: Path, wnids: list[str]) -> list[str]:
    """Return the first synonym of each class, or the second if two classes share the first."""
    synonyms = {}
    path = _existing_path(root, 'words.txt', 'the names of its classes')
    for line in path.read_text(encoding='utf-8').splitlines():
        wnid, _, words = line.partition('\t')
        synonyms[wnid] = [word.strip() for word in words.split(',')]
    unnamed = [wnid for wnid in wnids if wnid not in synonyms]
    if unnamed:
        raise ValueError(
            f'{path} has no name for {unnamed[0]} ({len(unnamed)} of {len(wnids)} classes unnamed)'
        )
    first_counts = Counter(synonyms[wnid][0] for wnid in wnids)
    names = []
    for wnid in wnids:
        first, *others = synonyms[wnid]
        names.append(first if first_counts[first] == 1 else others[0] if others else first)
    name_counts = Counter(names)
    return [name if name_counts[name] == 1 else f'{name} ({wnid})' for name, wnid in zip(names, wnids)]


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """Tiny-ImageNet: 64-pixel images with one class and one box each.

    The classes are those of `wnids.txt`, in its order. A class has the first synonym of `words.txt` as its
    name, or the second if two classes share the first. A name that is not unique gets the WordNet id as well.

    Each data info holds `img_path`, `gt_label`, and `gt_bboxes`: (1, 4) float32, x1 y1 x2 y2 in pixels, x2
    and y2 exclusive. The official files give the last pixel, 63 for a complete image, so 1 is added.

    Args:
        data_root: Folder that holds `wnids.txt`, `words.txt`, `train/` and `val/`.
        split: `'train'` or `'val'`; the official test split has no labels. Defaults to `'train'`.
        images_per_class: Number of images of each class, the first ones by file name; or a range of images,
            such as `(100, 150)`, whose end is exclusive. Defaults to None: all.
        max_classes: Number of classes, in the order of `wnids.txt`. Defaults to None: all.
        first_class: Index in `wnids.txt` of the first class. Defaults to 0.
        pipeline: Transforms. A type without a scope is mmpretrain's. Defaults to ().
        **kwargs: Arguments of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        FileNotFoundError: If `data_root` lacks a file or folder.
        ValueError: If the split is unknown, `images_per_class`, `max_classes` or `first_class` leave nothing,
            or a file is malformed.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        images_per_class: int | Sequence[int] | None = None,
        max_classes: int | None = None,
        first_class: int = 0,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r} is unknown; use one of {SPLITS}')
        first, last = (
            (0, images_per_class) if not isinstance(images_per_class, Sequence) else images_per_class
        )
        if last is not None and not 0 <= first < last:
            raise ValueError(f'images_per_class={images_per_class!r} leaves no image; use 1 or more, or None')
        if max_classes is not None and max_classes < 1:
            raise ValueError(f'max_classes={max_classes!r} leaves no class; use 1 or more, or None')
        self.split, self.images_per_class = split, slice(first, last)
        self.classes_taken = slice(first_class, None if max_classes is None else first_class + max_classes)
        data_root = Path(data_root).expanduser()
        classes = self.class_names(data_root)[self.classes_taken]
        if first_class < 0 or not classes:
            raise ValueError(
                f'first_class={first_class!r} leaves no class of {data_root / "wnids.txt"}: use an index of '
                'its lines, from 0'
            )
        kwargs['metainfo'] = {'classes': tuple(classes), **(kwargs.get('metainfo') or {})}
        super().__init__(ann_file='', data_root=str(data_root), pipeline=pipeline, **kwargs)

    @staticmethod
    def class_names(data_root: str | Path, max_classes: int | None = None) -> list[str]:
        """Return the names of the first `max_classes` classes of `wnids.txt`, in its order."""
        root = Path(data_root).expanduser()
        return _class_names(root, _read_wnids(root))[:max_classes]

    @staticmethod
    def count_classes(data_root: str | Path, max_classes: int | None = None) -> int:
        """Return the number of classes, the official 200 if `wnids.txt` does not exist yet."""
        path = Path(data_root).expanduser() / 'wnids.txt'
        count = len(path.read_text().split()) if path.is_file() else 200
        return count if max_classes is None else min(count, max_classes)

    def load_data_list(self) -> list[dict]:
        """Return one data info for each image, class by class."""
        root = Path(self.data_root)
        wnids = _read_wnids(root)[self.classes_taken]
        rows_of = self._train_rows(root, wnids) if self.split == 'train' else self._val_rows(root, wnids)
        for wnid in wnids:
            if not rows_of[wnid][self.images_per_class]:
                first, last = self.images_per_class.start, self.images_per_class.stop
                raise ValueError(
                    f'images_per_class={(first, last)!r} leaves no image of {wnid}, which has '
                    f'{len(rows_of[wnid])} images in split={self.split!r}'
                )
        return [
            dict(img_path=path, gt_label=label, gt_bboxes=np.array([box], np.float32) + TO_EXCLUSIVE_END)
            for label, wnid in enumerate(wnids)
            for path, box in rows_of[wnid][self.images_per_class]
        ]

    def _train_rows(self, root: Path, wnids: list[str]) -> dict[str, list[tuple]]:
        """Return the sorted (path, box) pairs of each WordNet id."""
        rows_of = {}
        for wnid in wnids:
            folder = _existing_path(root, f'train/{wnid}/images', f'the folder of training images of {wnid}')
            boxes = _existing_path(root, f'train/{wnid}/{wnid}_boxes.txt', f'the boxes of {wnid}')
            box_of = {name: box for name, *box in _read_table(boxes, 5)}
            names = sorted(name for name in os.listdir(folder) if name.upper().endswith('.JPEG'))
            unboxed = [name for name in names if name not in box_of]
            if unboxed:
                raise ValueError(f'{boxes} has no box for {unboxed[0]}, which is in {folder}')
            rows_of[wnid] = [(os.path.join(folder, name), box_of[name]) for name in names]
        return rows_of

    def _val_rows(self, root: Path, wnids: list[str]) -> dict[str, list[tuple]]:
        folder = _existing_path(root, 'val/images', 'the folder of validation images')
        rows_of: dict[str, list[tuple]] = {wnid: [] for wnid in wnids}
        table = _existing_path(root, 'val/val_annotations.txt', 'the labels and boxes of validation images')
        for name, wnid, *box in sorted(_read_table(table, 6)):
            if wnid in rows_of:
                rows_of[wnid].append((os.path.join(folder, name), box))
        return rows_of

    def extra_repr(self) -> list[str]:
        """Return extra lines for the description of the data set."""
        return [f'Split: \t{self.split}', *super().extra_repr()]


def _read_table(path: Path, columns: int) -> list[list[str]]:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    malformed = [number for number, row in enumerate(rows, start=1) if len(row) != columns]
    if malformed:
        raise ValueError(
            f'{path}, line {malformed[0]}: expected {columns} columns, found {len(rows[malformed[0] - 1])}'
        )
    return rows
