"""Folders of images: one subfolder for each class, with or without a split, or no labels at all."""

from __future__ import annotations

from pathlib import Path

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.utils.folders import image_names

from .splits import Splits, choose_splits

TINY_IMAGENET_LIST = 'val_annotations.txt'
"""Tab-separated file name, class and box of each image in `val/images`, as Tiny-ImageNet is published."""


def split_folders(root: Path) -> Splits:
    """Return the splits of a folder, by the names of its subfolders."""
    return choose_splits([path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else ())


def read_class_folders(root: Path) -> FoundData:
    """Read a folder with one subfolder for each class, below `train` and `val` if it has these.

    A folder without subfolders of images is read as images without labels.

    Raises:
        UsageError: if there is no image, a class has no image, images lie beside the class folders, there is
            one class only, or both splits have different classes.
    """
    splits = split_folders(root)
    train = root if splits.train is None else root / splits.train
    val = None if None in (splits.train, splits.val) else root / str(splits.val)
    names = sorted(image_names(train))
    if not names:
        raise UsageError(f'{train} has no image, nor do its subfolders: give the folder of your images')
    by_class = _by_class(names)
    empty = sorted(
        folder.name
        for folder in train.iterdir()
        if folder.is_dir() and not folder.name.startswith('.') and folder.name not in by_class
    )
    loose = by_class.pop('', [])
    if not by_class:
        return _unlabelled(train, loose)
    if loose:
        raise UsageError(
            f'{train} has {len(loose)} images beside the folders of classes, such as {loose[0]}: move them '
            'into the folder of their class, or out of it'
        )
    if empty:
        raise UsageError(
            f'the class folder {train / empty[0]} has no image: add images, or remove the folder'
        )
    classes = tuple(sorted(by_class))
    inner = {name: _inner_folders(by_class[name]) for name in classes}
    if len(classes) < 2:
        name = classes[0]
        advice = (
            f'if its {len(inner[name])} folders are the classes, give {train / name}'
            if len(inner[name]) > 1
            else f'to pretrain without labels, give {train / name}'
        )
        raise UsageError(f'{train} has one class folder, {name!r}, and a classifier needs two: {advice}')
    notes = (*splits.notes, *_notes_on_inner_folders(train, inner))
    form = 'class folders' if splits.train is None else f'class folders below {train.name}'
    val_images: tuple[LabelledImage, ...] = ()
    if val is not None:
        form += f' and {val.name}'
        of_val = _listed_classes(val) or _by_class(sorted(image_names(val)))
        _check_same_classes(train, val, set(classes), set(of_val))
        val_images = _labelled(root, val, classes, of_val)
    train_images = _labelled(root, train, classes, by_class)
    return FoundData(form, 'classification', root, classes, train_images, val_images, notes)


def read_unlabelled(root: Path) -> FoundData:
    """Read all images below a folder, in any layout, as images without labels.

    Raises:
        UsageError: if the folder does not exist or has no image.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f'{root} is not a folder: give the folder of your images')
    names = sorted(image_names(root))
    if not names:
        raise UsageError(f'{root} has no image, nor do its subfolders: give the folder of your images')
    return _unlabelled(root, names)


def _unlabelled(root: Path, names: list[str]) -> FoundData:
    images = tuple(LabelledImage(Path(name).as_posix()) for name in names)
    return FoundData('a folder of images without labels', 'pretraining', root, (), images, ())


def _by_class(names: list[str]) -> dict[str, list[str]]:
    """Group paths by their first folder; '' for files outside folders."""
    by_class: dict[str, list[str]] = {}
    for name in names:
        parts = Path(name).parts
        by_class.setdefault(parts[0] if len(parts) > 1 else '', []).append(name)
    return by_class


def _listed_classes(val: Path) -> dict[str, list[str]]:
    """Return the paths of each class in the list of Tiny-ImageNet's validation; none without this list."""
    file = val / TINY_IMAGENET_LIST
    by_class: dict[str, list[str]] = {}
    for line in file.read_text(encoding='utf-8').splitlines() if file.is_file() else ():
        name, _, rest = line.partition('\t')
        by_class.setdefault(rest.partition('\t')[0], []).append(f'images/{name}')
    return by_class


def _inner_folders(names: list[str]) -> list[str]:
    """Return the folders directly below a class folder; none if images lie beside them."""
    parts = [Path(name).parts for name in names]
    return sorted({part[1] for part in parts}) if all(len(part) > 2 for part in parts) else []


def _notes_on_inner_folders(train: Path, inner: dict[str, list[str]]) -> tuple[str, ...]:
    """Note that class folders hold folders alone, which may be the classes that are meant."""
    name = next(iter(inner))
    if not all(len(folders) > 1 for folders in inner.values()):
        return ()
    return (
        f'the class folders hold folders and no images: {name!r} has {", ".join(inner[name][:3])}. If these '
        f'are the classes, give {train / name}',
    )


def _check_same_classes(train: Path, val: Path, of_train: set[str], of_val: set[str]) -> None:
    if '' in of_val and len(of_val) == 1:
        raise UsageError(
            f'{val} has images and no class folders, unlike {train}: sort its images into folders of the '
            'same names'
        )
    if of_val == {'images'}:
        raise UsageError(
            f'{val} has images and no class folders, unlike {train}: sort its images into folders of the '
            f'same names, or add {TINY_IMAGENET_LIST} of Tiny-ImageNet'
        )
    if unknown := sorted(of_val - of_train):
        raise UsageError(
            f'{val} has the class {unknown[0]!r}, which {train} lacks: use the same folder names in both'
        )


def _labelled(
    root: Path, folder: Path, classes: tuple[str, ...], by_class: dict[str, list[str]]
) -> tuple[LabelledImage, ...]:
    return tuple(
        LabelledImage(_below(root, folder, name), (index,))
        for index, label in enumerate(classes)
        for name in by_class.get(label, ())
    )


def _below(root: Path, folder: Path, name: str) -> str:
    return (folder.relative_to(root) / name).as_posix()
