"""Search for the format of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from lfi.errors import UsageError
from lfi.new_config.class_names import with_words
from lfi.new_config.labelled_image import FoundData

from .checking import check_data
from .class_folders import read_class_folders
from .coco_json import is_coco_json, read_coco
from .hugging_face import is_hugging_face, read_hugging_face
from .label_table import SUFFIXES as TABLE_SUFFIXES
from .label_table import read_label_table
from .mask_folders import mask_folders, read_mask_folders
from .pascal_voc import is_pascal_voc, read_pascal_voc
from .yolo import SUFFIXES as YAML_SUFFIXES
from .yolo import is_yolo, read_yolo, yolo_files

Reader = Callable[[], FoundData]


def find_data(path: Path, images_out: Path) -> FoundData:
    """Find the format of a data set, read it, and check it.

    Images that cannot be read are left out, and the notes tell so.

    Args:
        path: folder of the data set, or the CSV, TSV, JSON or YAML file that describes it.
        images_out: folder for the images of a data set that has no image files.

    Raises:
        UsageError: if the path does not exist, has no known format or several, or cannot be read.
    """
    path = path.expanduser()
    if not path.exists():
        raise UsageError(f'DATA {path} does not exist')
    return with_words(check_data(_read(path.resolve(), images_out.resolve())))


def _read(path: Path, images_out: Path) -> FoundData:
    if path.is_file():
        return _read_file(path)
    readers = _readers(path, images_out)
    if len(readers) > 1:
        raise UsageError(
            f'{path} has several formats: {", ".join(readers)}. Give the file that describes your data, or '
            'a folder with one of them'
        )
    if not readers:
        _check_no_annotations(path)
    return next(iter(readers.values()), lambda: read_class_folders(path))()


def _readers(root: Path, images_out: Path) -> dict[str, Reader]:
    """Return a reader for each format that the files of a folder show, by the format's name."""
    if is_hugging_face(root):
        return {'Hugging Face datasets': lambda: read_hugging_face(root, images_out)}
    readers: dict[str, Reader] = {}
    if yaml_files := yolo_files(root):
        readers |= {f'YOLO ({file.name})': _bind(read_yolo, file) for file in yaml_files}
    if coco := _coco_files(root):
        readers['COCO JSON'] = lambda: read_coco(coco)
    if is_pascal_voc(root):
        readers['Pascal VOC'] = lambda: read_pascal_voc(root)
    if not readers and mask_folders(root):
        readers['masks'] = lambda: read_mask_folders(root)
    tables = [file for file in sorted(root.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES]
    if not readers:
        readers |= {f'a table ({file.name})': _bind(read_label_table, file) for file in tables}
    return readers


def _coco_files(root: Path) -> list[Path]:
    """Return the COCO files in a folder, in its `annotations`, and beside the images of each split."""
    folders = (root, root / 'annotations', *(root / name for name in ('train', 'val', 'valid', 'test')))
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob('*.json'))]
    return [file for file in files if is_coco_json(file)]


def _check_no_annotations(root: Path) -> None:
    """Refuse a folder whose annotations are broken, or lack the file that names the classes."""
    for folder in (root, root / 'annotations'):
        for file in sorted(folder.glob('*.*')):
            _check_syntax(file)
    if next((root / 'labels').rglob('*.txt'), None) is not None:
        raise UsageError(
            f'{root} has labels of YOLO, and no YAML file that names their classes: write data.yaml with '
            '`names: [cat, dog]` and `train: images`'
        )


def _check_syntax(file: Path) -> None:
    """Refuse a broken file of JSON or YAML."""
    try:
        if file.suffix.lower() == '.json':
            json.loads(file.read_text(encoding='utf-8'))
        elif file.suffix.lower() in YAML_SUFFIXES:
            yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise UsageError(f'{file} cannot be read: {reason}. Repair it, or remove it') from error


def _read_file(file: Path) -> FoundData:
    suffix = file.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return read_label_table(file)
    if suffix in YAML_SUFFIXES and is_yolo(file):
        return read_yolo(file)
    if suffix == '.json' and is_coco_json(file):
        return read_coco([file])
    _check_syntax(file)
    raise UsageError(
        f'DATA {file} is none of: a folder, a CSV or TSV of paths and labels, a data.yaml of YOLO with names '
        'and train, a COCO JSON of objects'
    )


def _bind(read: Callable[[Path], FoundData], file: Path) -> Reader:
    return lambda: read(file)
