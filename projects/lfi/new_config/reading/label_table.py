"""Tables of paths and labels: CSV and TSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage

from .splits import TRAIN, VAL, Splits, choose_splits

SUFFIXES = ('.csv', '.tsv')
PATH_COLUMNS = ('path', 'image', 'image_path', 'img', 'file', 'filename', 'file_name', 'filepath', 'name')
LABEL_COLUMNS = ('label', 'labels', 'class', 'classes', 'class_name', 'category', 'tag', 'tags', 'target')
SPLIT_COLUMNS = ('split', 'subset', 'set', 'partition')
SEPARATORS = ('|', ';')
"""Separators of several labels in one cell."""


class _Row(NamedTuple):
    line: int
    path: str
    labels: tuple[str, ...]
    split: str


def read_label_table(file: Path) -> FoundData:
    """Read a CSV or TSV file with a column of image paths and a column of labels, or a column for each class.

    Columns are found by their names, such as `path`, `label` and `split`; without a header the first column
    is the path and the second the label. Several labels of an image are separated by | or ;, or stand in
    columns of 0 and 1. Paths are relative to the folder of the file, or to its subfolder `images`.

    Raises:
        UsageError: if the file cannot be read, no column is named as labels are, a row has no label, an image
            does not exist, the values of the column `split` are unknown, a class is in the validation alone,
            or there is one class only.
    """
    rows = _read_rows(file)
    names = {row.split.lower() for row in rows}
    chosen = choose_splits(names)
    if chosen.train is None and len(names) == 1 and chosen.val is not None:
        # A table for `lfi test --data`.
        note = f'all rows are of the split {chosen.val}: they are read as a data set without a split'
        rows, chosen, names = (
            [row._replace(split=TRAIN[0]) for row in rows],
            Splits(TRAIN[0], None, (note,)),
            set(),
        )
    left_out = names.intersection(VAL) - {chosen.val}
    rows = [row for row in rows if row.split.lower() not in left_out]
    root = _images_folder(file, rows)
    several = any(len(row.labels) != 1 for row in rows)
    _check_labels(file, rows, several)
    classes = tuple(sorted({label for row in rows for label in row.labels}))
    if len(classes) < 2:
        raise UsageError(f'{file} has one class, {classes[0]!r}, and a classifier needs two')
    indices = {name: index for index, name in enumerate(classes)}
    splits: dict[bool, list[LabelledImage]] = {False: [], True: []}
    for row in rows:
        labels = tuple(sorted({indices[label] for label in row.labels}))
        splits[row.split.lower() == chosen.val].append(LabelledImage(row.path, labels))
    return FoundData(
        f'a table of paths and labels, {file.name}',
        'multi-label classification' if several else 'classification',
        root,
        classes,
        tuple(splits[False]),
        tuple(splits[True]),
        chosen.notes,
    )


def _read_rows(file: Path) -> list[_Row]:
    try:
        text = file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'{file} cannot be read: {error}. Save it as UTF-8') from error
    delimiter = '\t' if file.suffix.lower() == '.tsv' else _delimiter(text)
    lines = [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), 1)
        if any(cell.strip() for cell in cells)
    ]
    if not lines:
        raise UsageError(f'{file} is empty: write a path and a label in each row')
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width or width < 2:
            raise UsageError(
                f'line {number} of {file} has {len(cells)} columns, and needs '
                f'{max(width, 2)}, a path and a label: quote cells that contain {delimiter!r}'
            )
    header = None if _exists(file, lines[0][1][0]) else [cell.lower() for cell in lines[0][1]]
    body = lines if header is None else lines[1:]
    if not body:
        raise UsageError(f'{file} has a header and no row: write a path and a label in each row')
    return _rows_of(file, header or ['path', 'label', 'split'][:width], lines[0][1], body)


def _rows_of(
    file: Path, header: Sequence[str], names: Sequence[str], body: list[tuple[int, list[str]]]
) -> list[_Row]:
    path = next((index for index, name in enumerate(header) if name in PATH_COLUMNS), 0)
    split = next((index for index, name in enumerate(header) if name in SPLIT_COLUMNS), None)
    others = [index for index in range(len(header)) if index not in (path, split)]
    label = next((index for index in others if header[index] in LABEL_COLUMNS), None)
    one_hot = label is None and len(others) > 1 and _are_binary(body, others)
    if label is None and not one_hot:
        if len(others) > 1:
            raise UsageError(
                f'{file} has the columns {", ".join(names)}, and none is named label: rename one'
            )
        label = others[0] if others else None
    rows = []
    for number, cells in body:
        if one_hot:
            labels = tuple(names[index] for index in others if float(cells[index]) > 0)
        else:
            labels = () if label is None else _split_labels(cells[label])
        rows.append(_Row(number, cells[path], labels, 'train' if split is None else cells[split]))
    return rows


def _are_binary(body: list[tuple[int, list[str]]], columns: Sequence[int]) -> bool:
    return all(cells[index] in ('0', '1', '0.0', '1.0') for _, cells in body for index in columns)


def _split_labels(cell: str) -> tuple[str, ...]:
    for separator in SEPARATORS:
        cell = cell.replace(separator, SEPARATORS[0])
    return tuple(label.strip() for label in cell.split(SEPARATORS[0]) if label.strip())


def _delimiter(text: str) -> str:
    first = text.partition('\n')[0]
    try:
        return csv.Sniffer().sniff(first, delimiters=',;\t').delimiter
    except csv.Error:
        return ','


def _exists(file: Path, name: str) -> bool:
    return any((folder / name).is_file() for folder in (file.parent, file.parent / 'images'))


def _images_folder(file: Path, rows: list[_Row]) -> Path:
    """Return the folder to which the paths are relative, in which all images exist."""
    folders = (file.parent, file.parent / 'images')
    missing = {folder: [row for row in rows if not (folder / row.path).is_file()] for folder in folders}
    best = min(folders, key=lambda folder: len(missing[folder]))
    if missing[best]:
        row = missing[best][0]
        raise UsageError(
            f'{len(missing[best])} of {len(rows)} images of {file} do not exist, the first in line '
            f'{row.line}: {best / row.path}. Paths are relative to {file.parent}'
        )
    return best


def _check_labels(file: Path, rows: list[_Row], several: bool) -> None:
    unlabelled = [row for row in rows if not row.labels]
    if unlabelled and not (several and any(len(row.labels) > 1 for row in rows)):
        raise UsageError(
            f'{len(unlabelled)} rows of {file} have no label, the first is line {unlabelled[0].line}: write '
            'a label in each row, or move images without labels into a folder of their own'
        )
    if len(unlabelled) == len(rows):
        raise UsageError(f'no row of {file} has a label: name the column of labels "label"')
    of_train = {label for row in rows if row.split.lower() in TRAIN for label in row.labels}
    unseen = next(((row, label) for row in rows for label in row.labels if label not in of_train), None)
    unknown = next((row for row in rows if row.split.lower() not in TRAIN + VAL), None)
    if unknown:
        raise UsageError(
            f'line {unknown.line} of {file} has split={unknown.split!r}: write train, val or test'
        )
    if unseen:
        row, label = unseen
        raise UsageError(
            f'line {row.line} of {file} validates the class {label!r}, which no row of train has: add rows '
            'of it to train'
        )
    paths: dict[str, _Row] = {}
    for row in rows:
        first = paths.setdefault(row.path, row)
        if first is not row:
            fix = (
                'write each image once, and several labels in one cell, as cat|dog'
                if row.split == first.split
                else f'it is in {first.split} and in {row.split}, so remove one of the lines'
            )
            raise UsageError(f'{file} names {row.path} in the lines {first.line} and {row.line}: {fix}')
