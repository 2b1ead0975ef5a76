"""Labels in the formats that data sets read."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lfi.utils.fileio import AtomicLocalBackend


def write_labels(folder: Path, records: Iterable[dict], concepts: Sequence[str]) -> Path:
    """Write the labels of images.

    - `annotations.json`, of COCO's format: category i + 1 is concept i; each object has a mask, run-length
      encoded, a box and a score. All images that could be read are in it, also those that show no concept.
    - `labels.txt`, as mmpretrain's `CustomDataset` reads it: in each line a path and the index of the concept
      of the highest presence, of the images that show one; and `classes.txt`, the names.
    - `scores.csv`: all concepts that an image shows, with their presence.
    - `unreadable.txt`: the images that cannot be read, and why; and those whose names cannot stand in
      `labels.txt`, which is read as lines of UTF-8.

    Paths in the files are relative to the images' common folder.

    Args:
        folder: Where to; it is there.
        records: Of the images, as `image_record` and `unreadable_record` make them.
        concepts: The T names.

    Returns:
        The images' common folder.

    Raises:
        CheckpointWriteError: If a file cannot be written; those of an earlier call are unharmed.
    """
    records = list(records)
    root = common_folder(record['file'] for record in records)
    good = [record for record in records if 'error' not in record]
    names = [os.path.relpath(record['file'], root) for record in good]
    bad = [f'{record["file"]}: {record["error"]}' for record in records if 'error' in record]
    bad += [f'{name!r}: not in labels.txt, whose lines are UTF-8' for name in names if not _fits(name)]
    text = json.dumps(_coco(good, names, concepts, root), ensure_ascii=False)
    for name, content in (
        ('annotations.json', f'{text}\n'),
        (
            'labels.txt',
            _lines(_label(name, r) for name, r in zip(names, good) if r['presence'] and _fits(name)),
        ),
        ('classes.txt', _lines(concepts)),
        ('scores.csv', _scores(good, names, concepts)),
        ('unreadable.txt', _lines(bad)),
    ):
        # A file's name need not be UTF-8: JSON escapes it, a list has its bytes.
        errors = 'backslashreplace' if name.endswith('.json') else 'surrogateescape'
        AtomicLocalBackend().put(content.encode(errors=errors), folder / name)
    return root


def image_record(file: str, size: tuple[int, int], presence: dict[int, float], objects: Sequence) -> dict:
    """The record of an image: plain data.

    Args:
        file: Its path.
        size: Its height and width.
        presence: As `ImageLabels` has it.
        objects: Likewise.
    """
    # JSON has no numbers as keys.
    return dict(
        file=file,
        size=list(size),
        presence=[list(pair) for pair in presence.items()],
        objects=[vars(found) for found in objects],
    )


def unreadable_record(file: str, error: str) -> dict:
    """The record of an image that cannot be read, and why."""
    return dict(file=file, error=' '.join(error.split()))


def best(record: dict) -> int:
    """The concept of the highest presence in an image that shows one."""
    return record['presence'][0][0]


def common_folder(files: Iterable[str]) -> Path:
    """The folder that all files lie in, absolute."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]))


def _coco(records: list[dict], names: list[str], concepts: Sequence[str], root: Path) -> dict:
    images = [
        dict(id=i, file_name=name, height=record['size'][0], width=record['size'][1])
        for i, (name, record) in enumerate(zip(names, records))
    ]
    objects = [(i, found) for i, record in enumerate(records) for found in record['objects']]
    annotations = [
        dict(
            id=k,
            image_id=i,
            category_id=found['concept'] + 1,
            iscrowd=0,
            **{key: found[key] for key in ('bbox', 'area', 'segmentation', 'score')},
        )
        for k, (i, found) in enumerate(objects, 1)
    ]
    return dict(
        info=dict(description='labels by lfi, lfi pseudo-label', images=str(root)),
        images=images,
        categories=[dict(id=c, name=name) for c, name in enumerate(concepts, 1)],
        annotations=annotations,
    )


def _scores(records: list[dict], names: list[str], concepts: Sequence[str]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(('file', 'index', 'class', 'presence'))
    for name, record in zip(names, records):
        writer.writerows((name, c, concepts[c], presence) for c, presence in record['presence'])
    return table.getvalue()


def _label(name: str, record: dict) -> str:
    """A line of mmpretrain's, which strips it: a space at a name's beginning must not be there."""
    return f'{os.path.join(".", name) if name != name.lstrip() else name} {best(record)}'


def _fits(name: str) -> bool:
    """Whether a file's name can be read from a line of a list."""
    return not any(character in '\r\n' or '\ud800' <= character <= '\udfff' for character in name)


def _lines(lines: Iterable[str]) -> str:
    return ''.join(f'{line}\n' for line in lines)
