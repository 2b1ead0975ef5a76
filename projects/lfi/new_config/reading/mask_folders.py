"""Semantic masks: a folder of images and a folder of PNGs of the same names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.utils.folders import image_names

from .splits import VAL, choose_splits

IMAGES, MASKS = ('images', 'image', 'imgs', 'img'), ('masks', 'mask', 'annotations', 'labels', 'ann')
CLASS_FILES = ('classes.txt', 'labels.txt', 'names.txt', 'classes.json')
IGNORED = 255


def mask_folders(root: Path) -> tuple[Path, Path] | None:
    """Return the folders of the images and of their masks, or None if there are no PNG masks."""
    images = next((root / name for name in IMAGES if (root / name).is_dir()), None)
    masks = next((root / name for name in MASKS if (root / name).is_dir()), None)
    if images is None or masks is None or next(masks.rglob('*.png'), None) is None:
        return None
    return images, masks


def read_mask_folders(root: Path) -> FoundData:
    """Read images and masks of class indices; 255 is ignored.

    The names of the classes lie in `classes.txt`, one a line in the order of the indices. Subfolders `train`
    and `val` of both folders are the split.

    Raises:
        UsageError: if names are missing, an image has no mask, or a mask is not of indices.
    """
    folders = mask_folders(root)
    assert folders is not None, f'{root} has no masks'
    images, masks = folders
    classes = _class_names(root)
    splits = choose_splits(path.name for path in images.iterdir() if path.is_dir())
    left_out = {path.name for path in images.iterdir() if path.name.lower() in VAL} - {splits.val}
    pairs: dict[bool, list[LabelledImage]] = {False: [], True: []}
    for name in sorted(image_names(images)):
        if Path(name).parts[0] in left_out:
            continue
        mask = (masks / name).with_suffix('.png')
        if not mask.is_file():
            raise UsageError(f'{images / name} has no mask {mask}')
        image = LabelledImage(
            (images / name).relative_to(root).as_posix(),
            _indices(mask, classes),
            mask=mask.relative_to(root).as_posix(),
        )
        pairs[Path(name).parts[0] == splits.val and len(Path(name).parts) > 1].append(image)
    return FoundData(
        f'images in {images.name}/, masks in {masks.name}/',
        'semantic segmentation',
        root,
        classes,
        tuple(pairs[False]),
        tuple(pairs[True]),
        splits.notes,
    )


def _class_names(root: Path) -> tuple[str, ...]:
    file = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if file is None:
        raise UsageError(
            f'{root} has masks and no names of their classes: write {root / CLASS_FILES[0]}, one name a '
            'line in the order of the indices'
        )
    text = file.read_text(encoding='utf-8-sig')
    names = json.loads(text) if file.suffix == '.json' else text.splitlines()
    classes = tuple(str(name).strip() for name in names if str(name).strip())
    if len(classes) < 2:
        raise UsageError(f'{file} has {len(classes)} names, and a segmentor needs two')
    return classes


def _indices(mask: Path, classes: tuple[str, ...]) -> tuple[int, ...]:
    try:
        with Image.open(mask) as image:
            mode, values = image.mode, np.unique(np.asarray(image))
    # Pillow raises errors of any type at broken files.
    except Exception as error:
        raise UsageError(f'{mask} is no readable mask: {error}') from error
    if mode not in ('L', 'P', 'I', 'I;16', '1'):
        raise UsageError(f'{mask} is a picture of mode {mode}: a mask has one channel of class indices')
    present = [int(value) for value in values if value != IGNORED]
    if present and present[-1] >= len(classes):
        raise UsageError(
            f'{mask} has the index {present[-1]}, and there are {len(classes)} names of classes: add names, '
            f'or use {IGNORED} for pixels to ignore'
        )
    return tuple(present)
