"""Label files in the formats that data sets read."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lfi.utils.fileio import AtomicLocalBackend

from .label_formats import FORMATS, LabelledImages


def write_labels(
    folder: Path,
    records: Iterable[dict],
    concepts: Sequence[str],
    formats: Sequence[str] = (),
    min_score: float = 0.0,
) -> Path:
    """Write the labels of images.

    - `annotations.json`: COCO format. Category i + 1 is concept i. Each object has a run-length encoded mask,
      a box and a score. All readable images are listed, including those without concepts.
    - `labels.txt`: format of mmpretrain's `CustomDataset`. Each line has the path of an image with concepts
      and the index of the concept of the highest presence. `classes.txt` has the names.
    - `scores.csv`: all labelled concepts of each image, with their presence.
    - `unreadable.txt`: images that cannot be read, with the reason, and images whose names cannot be
      written to `labels.txt` as one line of UTF-8.

    Paths in the files are relative to the common folder of the images.

    Args:
        folder: existing output folder.
        records: records of the images, made by `image_record` and `unreadable_record`.
        concepts: names of the T concepts.
        formats: names of further formats, keys of `FORMATS`. Defaults to none.
        min_score: lowest score of an object that is written. Defaults to 0: all are.

    Returns:
        The common folder of the images.

    Raises:
        CheckpointWriteError: if a file cannot be written. Files of earlier calls stay intact.
    """
    records = [with_scores_from(record, min_score) for record in records]
    root = common_folder(record['file'] for record in records)
    readable = [record for record in records if 'error' not in record]
    names = [os.path.relpath(record['file'], root) for record in readable]
    notes = [f'{record["file"]}: {record["error"]}' for record in records if 'error' in record]
    notes += [f'{name!r}: not in labels.txt, whose lines are UTF-8' for name in names if not _fits_line(name)]
    text = json.dumps(_coco(readable, names, concepts, root), ensure_ascii=False)
    for name, content in (
        ('annotations.json', f'{text}\n'),
        (
            'labels.txt',
            _lines(_label(name, r) for name, r in zip(names, readable) if r['presence'] and _fits_line(name)),
        ),
        ('classes.txt', _lines(concepts)),
        ('scores.csv', _scores(readable, names, concepts)),
        ('unreadable.txt', _lines(notes)),
    ):
        # File names need not be UTF-8: JSON escapes them, text files hold their bytes.
        handler = 'backslashreplace' if name.endswith('.json') else 'surrogateescape'
        AtomicLocalBackend().put(content.encode(errors=handler), folder / name)
    images = LabelledImages(folder, root, names, readable, concepts)
    for kind in formats:
        FORMATS[kind](images)
    return root


def with_scores_from(record: dict, min_score: float) -> dict:
    """Return the record of an image with the objects of at least this score."""
    if 'error' in record:
        return record
    return {**record, 'objects': [obj for obj in record['objects'] if obj['score'] >= min_score]}


def image_record(file: str, size: tuple[int, int], presence: dict[int, float], objects: Sequence) -> dict:
    """Build the record of an image, as plain data.

    Args:
        file: path of the image.
        size: height and width of the image, in pixels.
        presence: presence by concept, see `ImageLabels`.
        objects: objects, see `ImageLabels`.
    """
    # Pairs, because keys of JSON objects are strings.
    return dict(
        file=file,
        size=list(size),
        presence=[list(pair) for pair in presence.items()],
        objects=[vars(obj) for obj in objects],
    )


def unreadable_record(file: str, error: str) -> dict:
    """Build the record of an image that cannot be read, with the reason."""
    return dict(file=file, error=' '.join(error.split()))


def top_concept(record: dict) -> int:
    """Return the concept of the highest presence; the record must have one."""
    return record['presence'][0][0]


def common_folder(files: Iterable[str]) -> Path:
    """Return the absolute path of the deepest folder that contains all files."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]))


def _coco(records: list[dict], names: list[str], concepts: Sequence[str], root: Path) -> dict:
    images = [
        dict(id=i, file_name=name, height=record['size'][0], width=record['size'][1])
        for i, (name, record) in enumerate(zip(names, records))
    ]
    objects = [(i, obj) for i, record in enumerate(records) for obj in record['objects']]
    annotations = [
        dict(
            id=k,
            image_id=i,
            category_id=obj['concept'] + 1,
            iscrowd=0,
            **{key: obj[key] for key in ('bbox', 'area', 'segmentation', 'score')},
        )
        for k, (i, obj) in enumerate(objects, 1)
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
    """Format a line of `labels.txt`; a leading './' protects leading spaces, which mmpretrain strips."""
    return f'{os.path.join(".", name) if name != name.lstrip() else name} {top_concept(record)}'


def _fits_line(name: str) -> bool:
    """Whether a file name can be read from a line of a UTF-8 text file."""
    return not any(character in '\r\n' or '\ud800' <= character <= '\udfff' for character in name)


def _lines(lines: Iterable[str]) -> str:
    return ''.join(f'{line}\n' for line in lines)
