"""Annotations of objects in COCO's JSON, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage, Task

from .image_header import image_size
from .run_lengths import is_mask_of
from .splits import TRAIN, VAL, choose_splits

SPLITS = (*TRAIN, *VAL)
# Address under which Label Studio serves a local image, before the quoted path.
LOCAL_FILES = '/data/local-files/?d='


def is_coco_json(file: Path) -> bool:
    """Whether a JSON file has annotations of objects in COCO's form, without keypoints."""
    try:
        with file.open(encoding='utf-8') as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return False
    return (
        isinstance(content, dict)
        and {'images', 'annotations', 'categories'} <= content.keys()
        and all('bbox' in annotation for annotation in content['annotations'][:1])
        and not any('keypoints' in category for category in content['categories'][:1])
    )


def read_coco(files: Sequence[Path], root: Path | None = None) -> FoundData:
    """Read COCO JSON files of objects: one, or one for each split.

    Args:
        files: the files. Of several, names and folders such as `instances_val2017.json` or `valid` tell the
            splits.
        root: folder of the images. Defaults to None: it is looked for beside the files.

    Raises:
        UsageError: if a file cannot be read, images do not exist, or the files have different categories.
    """
    train_file, val_file, notes = _train_and_val(files)
    base = root or _common_folder(files)
    classes, train, masks = _read(train_file, base, notes)
    val: tuple[LabelledImage, ...] = ()
    if val_file is not None:
        val_classes, val, _ = _read(val_file, base, notes)
        if val_classes != classes:
            raise UsageError(
                f'{train_file} and {val_file} have different categories, '
                f'{", ".join(classes[:3])}, … and {", ".join(val_classes[:3])}, …: write the same list'
            )
    read = [file for file in (train_file, val_file) if file is not None]
    form = f'COCO JSON, {" and ".join(file.relative_to(base).as_posix() for file in read)}'
    task: Task = 'instance segmentation' if masks else 'object detection'
    return FoundData(form, task, base, classes, train, val, tuple(notes))


def _train_and_val(files: Sequence[Path]) -> tuple[Path, Path | None, list[str]]:
    """Return the files for training and validation, and notes on other splits."""
    if len(files) == 1:
        return files[0], None, []
    by_split = {_split_of(file): file for file in files}
    chosen = choose_splits(by_split)
    if len(by_split) < len(files) or chosen.train is None or chosen.val is None:
        names = ', '.join(str(file) for file in files)
        raise UsageError(
            f'found {len(files)} COCO files, {names}: give one of them, or leave one for training and one '
            'with val in its name'
        )
    return by_split[chosen.train], by_split[chosen.val], list(chosen.notes)


def _split_of(file: Path) -> str:
    """Return the split that a file's name or its folder's names; train if they name none."""
    words = re.split('[^a-z]+', f'{file.stem} {file.parent.name}'.lower())
    return next((word for word in words if word in SPLITS), TRAIN[0])


def _common_folder(files: Sequence[Path]) -> Path:
    folder = files[0].parent
    while not all(file.is_relative_to(folder) for file in files):
        folder = folder.parent
    return folder.parent if folder.name == 'annotations' else folder


def _read(
    file: Path, root: Path, notes: list[str]
) -> tuple[tuple[str, ...], tuple[LabelledImage, ...], bool]:
    """Return the classes and images of a file, and whether all objects have masks; add to `notes`."""
    from pycocotools.coco import COCO

    try:
        # It prints.
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(file))
    # pycocotools checks little, and raises errors of any type at a wrong file.
    except Exception as error:
        raise UsageError(f'{file} cannot be read as COCO JSON: {type(error).__name__}: {error}') from error
    _check_ids(coco, file)
    try:
        for image in coco.imgs.values():
            _undo_label_studio(image)
        # mmdet's order, by id.
        categories = sorted(coco.cats.values(), key=lambda category: category['id'])
        index = {category['id']: position for position, category in enumerate(categories)}
        objects: dict[Any, list[dict]] = defaultdict(list)
        ignored = [annotation for annotation in coco.anns.values() if annotation.get('ignore')]
        if ignored:
            # mmdet leaves them out, too.
            notes.append(f'annotations with ignore=1 were left out of {file.name}: {len(ignored)}')
        for annotation in coco.anns.values():
            if annotation.get('ignore'):
                continue
            if annotation['category_id'] not in index:
                raise UsageError(
                    f'{file} has an annotation of category_id {annotation["category_id"]}, which its '
                    'categories lack'
                )
            _check_mask(annotation, coco.imgs.get(annotation['image_id']), file)
            objects[annotation['image_id']].append(_object(annotation, index))
        folder = _images_folder(file, root, [image['file_name'] for image in coco.imgs.values()])
        images = tuple(
            LabelledImage(
                (folder / image['file_name']).relative_to(root).as_posix(),
                tuple(sorted({item['category'] for item in objects[image['id']]})),
                tuple(objects[image['id']]),
                _size(image, folder),
            )
            for image in coco.imgs.values()
        )
    except KeyError as error:
        raise UsageError(f'{file} lacks the field {error} of COCO JSON') from error
    if not categories or not coco.anns:
        raise UsageError(f'{file} has no annotation of an object')
    masks = all(item.get('segmentation') for image in images for item in image.objects)
    return tuple(str(category['name']) for category in categories), images, masks


def _undo_label_studio(image: dict) -> None:
    """Restore the name of an image from Label Studio's address, and drop the null sides that it exports."""
    if LOCAL_FILES in image['file_name']:
        image['file_name'] = unquote(image['file_name'].partition(LOCAL_FILES)[2])
    for side in ('width', 'height'):
        if image.get(side, 0) is None:
            del image[side]


def _check_ids(coco: Any, file: Path) -> None:
    """Check that no two entries have the same id: pycocotools keeps the last one alone.

    Raises:
        UsageError: if an id occurs twice.
    """
    for name, by_id in (('annotations', coco.anns), ('images', coco.imgs), ('categories', coco.cats)):
        entries = coco.dataset.get(name, ())
        if len(by_id) < len(entries):
            twice, _ = Counter(entry['id'] for entry in entries).most_common(1)[0]
            raise UsageError(
                f'{file} has {len(entries)} {name}, but {len(by_id)} different ids, such as {twice!r} twice: '
                f'number the {name} anew'
            )


def _check_mask(annotation: dict, image: dict | None, file: Path) -> None:
    mask = annotation.get('segmentation')
    if not isinstance(mask, dict) or image is None or not {'width', 'height'} <= image.keys():
        return
    if not is_mask_of(mask, image['height'], image['width']):
        raise UsageError(
            f'{file}: the run-length encoding of annotation {annotation.get("id")} is no mask of the '
            f'{image["width"]} x {image["height"]} pixels of {image["file_name"]}: correct it, or remove the '
            'annotation'
        )


def _object(annotation: dict, index: dict) -> dict:
    kept = {name: annotation[name] for name in ('segmentation', 'area') if annotation.get(name)}
    return {
        'bbox': annotation['bbox'],
        # mmdet leaves out an object of area 0, so `write_coco` computes a missing area from the box.
        **kept,
        'iscrowd': annotation.get('iscrowd', 0),
        'category': index[annotation['category_id']],
    }


def _size(image: dict, folder: Path) -> tuple[int, int] | None:
    """Return the annotated width and height; None, for `check_data`, without them or without an image."""
    if not {'width', 'height'} <= image.keys() or image_size(folder / image['file_name']) is None:
        return None
    return image['width'], image['height']


def _images_folder(file: Path, root: Path, names: list[str]) -> Path:
    """Return the folder of the images that a file names: beside it, or a folder that is named as it is."""
    stem = file.stem.removeprefix('instances_').removeprefix('_annotations.coco')
    folders = [
        file.parent,
        root,
        root / 'images',
        root / stem,
        root / 'images' / stem,
        file.parent / 'images',
    ]
    missing = {folder: [name for name in names if not (folder / name).is_file()] for folder in folders}
    best = min(folders, key=lambda folder: len(missing[folder]))
    if missing[best]:
        raise UsageError(
            f'{len(missing[best])} of {len(names)} images of {file} do not exist, such as '
            f'{best / missing[best][0]}: put the images beside the file, or into {root / stem}'
        )
    return best
