"""Search for the format of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData

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
    """Find the format of a data set, and read it.

    Args:
        path: folder of the data set, or the CSV, TSV, JSON or YAML file that describes it.
        images_out: folder for the images of a data set that has no image files.

    Raises:
        UsageError: if the path does not exist, has no known format or several, or cannot be read.
    """
    path = path.expanduser()
    if not path.exists():
        raise UsageError(f'DATA {path} does not exist')
    path = path.resolve()
    if path.is_file():
        return _read_file(path)
    readers = _readers(path, images_out)
    if len(readers) > 1:
        raise UsageError(
            f'{path} has several formats: {", ".join(readers)}. Give the file that describes your data, or '
            'a folder with one of them'
        )
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
    folders = (root, root / 'annotations', *(root / name for name in ('train', 'val', 'valid')))
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob('*.json'))]
    return [file for file in files if is_coco_json(file)]


def _read_file(file: Path) -> FoundData:
    suffix = file.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return read_label_table(file)
    if suffix in YAML_SUFFIXES and is_yolo(file):
        return read_yolo(file)
    if suffix == '.json' and is_coco_json(file):
        return read_coco([file])
    raise UsageError(
        f'DATA {file} is none of: a folder, a CSV or TSV of paths and labels, a data.yaml of YOLO with names '
        'and train, a COCO JSON of objects'
    )


def _bind(read: Callable[[Path], FoundData], file: Path) -> Reader:
    return lambda: read(file)
