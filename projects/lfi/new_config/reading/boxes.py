"""Boxes that supervision has read, in the form of COCO's annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from lfi.errors import UsageError
from lfi.new_config.labelled_image import LabelledImage


def import_supervision(form: str) -> Any:
    """Import supervision.

    Args:
        form: format that needs it, for the message.

    Raises:
        UsageError: if supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise UsageError(
            f"{form} is read by supervision, which is not installed: pip install 'lfi[formats]'"
        ) from error
    return supervision


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file from its header.

    Raises:
        UsageError: if the file is no image.
    """
    try:
        with Image.open(path) as image:
            size: tuple[int, int] = image.size
    # Pillow raises errors of any type at broken files.
    except Exception as error:
        raise UsageError(f'{path} is no readable image: {error}') from error
    return size


def coco_objects(
    root: Path, path: Path, detections: Any, new_index: Mapping[int, int] | None = None
) -> LabelledImage:
    """Convert the boxes of an image.

    Args:
        root: folder to which the path of the result is relative.
        path: the image.
        detections: `supervision.Detections`, boxes in pixels.
        new_index: index of a class by its index in `detections`. Defaults to None: the same.
    """
    width, height = image_size(path)
    objects = []
    for (left, top, right, bottom), old in zip(detections.xyxy.tolist(), detections.class_id.tolist()):
        left, right = max(left, 0.0), min(right, float(width))
        top, bottom = max(top, 0.0), min(bottom, float(height))
        size = (right - left, bottom - top)
        if min(size) > 0:
            category = int(old) if new_index is None else new_index[int(old)]
            box = [left, top, *size]
            objects.append({'bbox': box, 'area': size[0] * size[1], 'iscrowd': 0, 'category': category})
    classes = tuple(sorted({item['category'] for item in objects}))
    return LabelledImage(path.relative_to(root).as_posix(), classes, tuple(objects), (width, height))
