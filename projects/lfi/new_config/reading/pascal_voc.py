"""Pascal VOC: boxes in one XML file for each image, read by supervision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.utils.folders import image_names

from .boxes import coco_objects, import_supervision
from .image_header import image_size
from .splits import Splits, choose_splits

IMAGE_FOLDERS, ANNOTATION_FOLDERS = ('JPEGImages', 'images', ''), ('Annotations', 'annotations', '')


def is_pascal_voc(root: Path) -> bool:
    """Whether a folder has XML annotations, in `Annotations` or beside the images."""
    return _annotations(root) is not None


def read_pascal_voc(root: Path) -> FoundData:
    """Read the XML files of `Annotations` and the images of their names, with the split of `ImageSets/Main`.

    XML files in subfolders belong to the images in the same subfolders.

    Images without a file of annotations are left out.

    Raises:
        UsageError: if supervision is not installed, an annotation cannot be read, or an annotation has no
            image.
    """
    annotations = _annotations(root)
    assert annotations is not None, f'{root} has no XML annotations'
    images = next(root / name for name in IMAGE_FOLDERS if (root / name).is_dir())
    found = sorted(_xml_files(annotations))
    is_nested = any(path.parent != annotations for path in found)

    def stem_of(path: Path, folder: Path) -> str:
        return path.relative_to(folder).with_suffix('').as_posix() if is_nested else path.stem

    files = {stem_of(path, annotations): path for path in found}
    paths: dict[str, Path] = {}
    for name in sorted(image_names(images)):
        stem = stem_of(images / name, images)
        other = paths.setdefault(stem, images / name)
        if stem in files and other != images / name:
            raise UsageError(
                f'{files[stem].name} is of two images of {images}, '
                f'{other.relative_to(images).as_posix()} and {name}: rename or remove one'
            )
    missing = [path.name for stem, path in files.items() if stem not in paths]
    if missing:
        raise UsageError(
            f'{len(missing)} XML files of {annotations} have no image of the same name in {images}, such as '
            f'{missing[0]}'
        )
    classes = sorted({name for file in files.values() for name in _names(file)})
    if not classes:
        raise UsageError(f'the XML files of {annotations} have no object')
    by_stem = {stem: _read(root, paths[stem], file, classes) for stem, file in files.items()}
    lists = root / 'ImageSets' / 'Main'
    splits = choose_splits(file.stem for file in sorted(lists.glob('*.txt')))
    train, val = _split(lists, splits, by_stem)
    left_out = [path for stem, path in paths.items() if stem not in files]
    note = f'images without a file in {annotations.name} were left out: {len(left_out)}, such as '
    notes = (note + left_out[0].relative_to(root).as_posix(),) if left_out else ()
    notes = (*splits.notes, *notes)
    return FoundData('Pascal VOC', 'object detection', root, tuple(classes), train, val, notes)


def _annotations(root: Path) -> Path | None:
    folders = (root / name for name in ANNOTATION_FOLDERS)
    return next((folder for folder in folders if next(_xml_files(folder), None)), None)


def _xml_files(folder: Path) -> Iterator[Path]:
    """Iterate over the XML files of a folder; of `Annotations` with its subfolders."""
    return folder.rglob('*.xml') if folder.name == ANNOTATION_FOLDERS[0] else folder.glob('*.xml')


def _names(file: Path) -> list[str]:
    try:
        objects = ElementTree.parse(file).findall('object')
    except (OSError, ElementTree.ParseError) as error:
        raise UsageError(f'{file} cannot be read as XML: {error}') from error
    # supervision keeps spaces too.
    names = [item.findtext('name') or '' for item in objects]
    if not all(map(str.strip, names)):
        raise UsageError(f'{file} has an object without a name')
    return names


def _read(root: Path, path: Path, file: Path, classes: list[str]) -> LabelledImage:
    import_supervision('Pascal VOC')
    from supervision.dataset.formats.pascal_voc import detections_from_xml_obj

    size = image_size(path)
    if size is None:
        # `check_data` leaves it out.
        return LabelledImage(path.relative_to(root).as_posix())
    try:
        detections, _ = detections_from_xml_obj(ElementTree.parse(file).getroot(), list(classes), size)
    # supervision raises errors of any type at wrong files.
    except Exception as error:
        raise UsageError(f'{file} cannot be read as Pascal VOC: {type(error).__name__}: {error}') from error
    return coco_objects(root, path, size, detections)


def _split(
    lists: Path, splits: Splits, images: Mapping[str, LabelledImage]
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Return the images that the lists of the splits name, or all other images for training."""
    train, val = (
        None if name is None else _listed(lists / f'{name}.txt', images)
        for name in (splits.train, splits.val)
    )
    if train is None:
        val_paths = {image.path for image in val or ()}
        train = tuple(image for image in images.values() if image.path not in val_paths)
    return train, val or ()


def _listed(file: Path, images: Mapping[str, LabelledImage]) -> tuple[LabelledImage, ...]:
    lines = [line.strip() for line in file.read_text(encoding='utf-8').splitlines() if line.strip()]
    # Lists of one class have a number behind each name, and names may have spaces.
    names = [line if line in images else line.split()[0] for line in lines]
    unknown = next((name for name in names if name not in images), None)
    if unknown is not None:
        raise UsageError(f'{file} names {unknown}, which has no image')
    return tuple(images[name] for name in names)
