"""YOLO: a `data.yaml`, and a text file of boxes or polygons for each image.

The package `supervision` reads the text files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.utils.folders import image_names

from .boxes import coco_objects, import_supervision
from .image_header import image_size
from .splits import choose_splits

SUFFIXES = ('.yaml', '.yml')


def yolo_files(root: Path) -> list[Path]:
    """Return the YAML files of a folder that describe a YOLO data set."""
    return [file for file in sorted(root.iterdir()) if file.suffix.lower() in SUFFIXES and is_yolo(file)]


def is_yolo(file: Path) -> bool:
    """Whether a YAML file names classes and training images."""
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and {'names', 'train'} <= content.keys()


def read_yolo(file: Path) -> FoundData:
    """Read a data set of boxes or polygons. With polygons, its task is instance segmentation.

    Images lie in the folders or lists that `train` and `val` name. The labels of `images/a.jpg` lie in
    `labels/a.txt`. Images without a label file show no object.

    Raises:
        UsageError: if `supervision` is not installed, a folder does not exist, or a label cannot be read.
    """
    import_supervision('YOLO')
    content = yaml.safe_load(file.read_text(encoding='utf-8'))
    if content.get('kpt_shape'):
        raise UsageError(f'{file} has kpt_shape, and LFI trains no keypoints: remove it to train the boxes')
    classes = _class_names(file, content['names'])
    root = _root(file, content)
    splits = choose_splits(key for key, value in content.items() if value)
    train, val = (
        tuple(_read(root, path, classes) for path in sorted(_images(file, root, key, content.get(key))))
        for key in (splits.train or 'train', splits.val or 'val')
    )
    if not train:
        raise UsageError(f'train={content["train"]!r} of {file} has no image')
    empty = (f'{splits.val} of {file.name} has no image',) if splits.val and not val else ()
    objects = [item for image in (*train, *val) for item in image.objects]
    if not objects:
        raise UsageError(
            f'the images of {file} have no labels: the labels of images/a.jpg are looked for in labels/a.txt'
        )
    masks = all('segmentation' in item for item in objects)
    files = [root / image.path for image in (*train, *val)]
    return FoundData(
        f'YOLO, {file.name}',
        'instance segmentation' if masks else 'object detection',
        root,
        classes,
        train,
        val,
        (*(empty or splits.notes), *_label_notes(files)),
    )


def _label_notes(images: list[Path]) -> Iterator[str]:
    """Note images without a label file, and label files without an image."""
    files = {label_file(image): image for image in images}
    missing = [image for file, image in files.items() if not file.is_file()]
    if missing:
        yield (
            f'images without a label file show no object: {len(missing)} of {len(images)}, such as '
            f'{missing[0].name}'
        )
    # If a split is a list, it may leave images of a folder out: their label files are not stray.
    folders = {image.parent for image in images}
    with_image = {label_file(folder / name) for folder in folders for name in image_names(folder)}
    stray = sorted(
        file
        for folder in {file.parent for file in files}
        for file in folder.glob('*.txt')
        if file not in with_image and file.name != 'classes.txt'
    )
    if stray:
        yield f'label files without an image were left out: {len(stray)}, such as {stray[0].name}'


def _class_names(file: Path, names: Any) -> tuple[str, ...]:
    """Return the names of a list, or of a dict whose keys are the indices."""
    by_index = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(by_index, dict) or not by_index:
        raise UsageError(f'{file}: names={names!r} must be a list of class names')
    by_index = {str(index): str(name) for index, name in by_index.items()}
    indices = [str(index) for index in range(len(by_index))]
    if set(by_index) != set(indices):
        raise UsageError(f'{file}: the keys of names must count from 0 to {len(by_index) - 1}')
    return tuple(by_index[index] for index in indices)


def _root(file: Path, content: dict) -> Path:
    """Return the folder that `path` names; the file's folder if `path` is missing or not on this machine."""
    path = Path(content.get('path') or '.')
    folders = (file.parent / path, Path.cwd() / path, file.parent)
    return next(folder for folder in folders if folder.is_dir()).resolve()


def _images(file: Path, root: Path, key: str, value: Any) -> Iterator[Path]:
    """Yield the images of the folders and lists that a key of the YAML file names."""
    for name in value if isinstance(value, list) else [value] if value else []:
        folders = [folder / str(name) for folder in (root, file.parent)]
        # Roboflow writes ../train/images for a folder beside the file.
        folders.append(file.parent / str(name).removeprefix('../'))
        path = next((folder for folder in folders if folder.exists()), None)
        if path is None:
            raise UsageError(f'{key}={name!r} of {file} does not exist: {folders[0]}')
        if path.is_dir():
            yield from (path.resolve() / image for image in image_names(path))
        else:
            lines = (line.strip() for line in path.read_text(encoding='utf-8').splitlines())
            # The images may be behind a link, and the labels beside the link.
            yield from (Path(os.path.abspath(root / line)) for line in lines if line)


def label_file(image: Path) -> Path:
    """Return the label file of an image: the last folder `images` becomes `labels`, the suffix `.txt`."""
    parts = list(image.parts)
    positions = [index for index, part in enumerate(parts[:-1]) if part == 'images']
    if positions:
        parts[positions[-1]] = 'labels'
    return Path(*parts).with_suffix('.txt')


def _read(root: Path, path: Path, classes: tuple[str, ...]) -> LabelledImage:
    from supervision.dataset.formats.yolo import yolo_annotations_to_detections

    if not path.is_relative_to(root):
        raise UsageError(f'{path} is not below {root}: move the images there')
    file = label_file(path)
    text = file.read_text(encoding='utf-8') if file.is_file() else ''
    lines = [line for line in text.splitlines() if line.strip()]
    size = image_size(path)
    if size is None:
        # `check_data` leaves it out.
        return LabelledImage(path.relative_to(root).as_posix())
    try:
        detections = yolo_annotations_to_detections(lines, size, with_masks=False)
        values = [float(value) for line in lines for value in line.split()[1:]]
    except ValueError as error:
        raise UsageError(f'{file}: {error}') from error
    beyond = next((value for value in values if not -0.01 <= value <= 1.01), None)
    if beyond is not None:
        raise UsageError(
            f'{file} has the coordinate {beyond:g}: YOLO divides coordinates by the width and height of the '
            'image, to 0 … 1'
        )
    indices = () if detections.class_id is None else detections.class_id
    unknown = [int(index) for index in indices if not 0 <= index < len(classes)]
    if unknown:
        raise UsageError(
            f'{file} has the class {unknown[0]}, but the YAML file names only {len(classes)} classes: add '
            'the name to names'
        )
    image = coco_objects(root, path, size, detections)
    polygons = [_polygon(line, *size) for line in lines]
    if len(image.objects) < len(polygons) or not all(polygons):
        return image
    objects = [{**item, 'segmentation': [polygon]} for item, polygon in zip(image.objects, polygons)]
    return image._replace(objects=tuple(objects))


def _polygon(line: str, width: int, height: int) -> list[float]:
    """Return a polygon x, y, x, y, … in pixels; empty if the line is a box."""
    values = [float(value) for value in line.split()[1:]]
    if len(values) < 6:
        return []
    # If the number of values is odd, the last one is a confidence.
    values = values[: len(values) // 2 * 2]
    return [value * (height if index % 2 else width) for index, value in enumerate(values)]
