"""Pascal VOC: boxes in one XML file for each image, read by supervision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.utils.folders import image_names

from .boxes import coco_objects, import_supervision

IMAGE_FOLDERS, ANNOTATION_FOLDERS = ('JPEGImages', 'images', ''), ('Annotations', 'annotations', '')
SPLITS = {'train': ('train',), 'val': ('val', 'test')}


def is_pascal_voc(root: Path) -> bool:
    """Whether a folder has XML annotations, in `Annotations` or beside the images."""
    return _annotations(root) is not None


def read_pascal_voc(root: Path) -> FoundData:
    """Read `Annotations/*.xml` and the images of the same names, with the split of `ImageSets/Main`.

    Raises:
        UsageError: if supervision is not installed, an annotation cannot be read, or an annotation has no
            image.
    """
    annotations = _annotations(root)
    assert annotations is not None, f'{root} has no XML annotations'
    images = next(root / name for name in IMAGE_FOLDERS if (root / name).is_dir())
    stems = {Path(name).stem for name in image_names(images)}
    missing = sorted(path.name for path in annotations.glob('*.xml') if path.stem not in stems)
    if missing:
        raise UsageError(
            f'{len(missing)} XML files of {annotations} have no image of the same name in {images}, such as '
            f'{missing[0]}'
        )
    supervision = import_supervision('Pascal VOC')
    try:
        read = supervision.DetectionDataset.from_pascal_voc(str(images), str(annotations))
    # supervision raises errors of any type at wrong files.
    except Exception as error:
        raise UsageError(f'{annotations} cannot be read as Pascal VOC: {error}') from error
    if not read.classes:
        raise UsageError(f'the XML files of {annotations} have no object')
    order = sorted(range(len(read.classes)), key=read.classes.__getitem__)
    new_index = {old: new for new, old in enumerate(order)}
    by_stem = {
        Path(path).stem: coco_objects(root, Path(path), detections, new_index)
        for path, detections in read.annotations.items()
    }
    train, val = _split(root, by_stem)
    return FoundData(
        'Pascal VOC', 'object detection', root, tuple(read.classes[old] for old in order), train, val
    )


def _annotations(root: Path) -> Path | None:
    folders = (root / name for name in ANNOTATION_FOLDERS)
    return next((folder for folder in folders if next(folder.glob('*.xml'), None)), None)


def _split(
    root: Path, images: Mapping[str, LabelledImage]
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Return the images of `ImageSets/Main/train.txt` and `val.txt`, or all images and none."""
    lists = root / 'ImageSets' / 'Main'
    files = {
        split: next((lists / f'{name}.txt' for name in names if (lists / f'{name}.txt').is_file()), None)
        for split, names in SPLITS.items()
    }
    train, val = (None if file is None else _listed(file, images) for file in files.values())
    if train is None:
        val_paths = {image.path for image in val or ()}
        train = tuple(image for image in images.values() if image.path not in val_paths)
    return train, val or ()


def _listed(file: Path, images: Mapping[str, LabelledImage]) -> tuple[LabelledImage, ...]:
    names = [line.split()[0] for line in file.read_text(encoding='utf-8').splitlines() if line.strip()]
    unknown = next((name for name in names if name not in images), None)
    if unknown is not None:
        raise UsageError(f'{file} names {unknown}, which has no image')
    return tuple(images[name] for name in names)
