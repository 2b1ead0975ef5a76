"""Boxes that supervision has read, in the form of COCO's annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def coco_objects(root: Path, path: Path, size: tuple[int, int], detections: Any) -> LabelledImage:
    """Convert the boxes of an image.

    Args:
        root: folder to which the path of the result is relative.
        path: the image.
        size: width and height of the image in pixels.
        detections: `supervision.Detections`, boxes in pixels.
    """
    width, height = size
    objects = []
    for (left, top, right, bottom), category in zip(detections.xyxy.tolist(), detections.class_id.tolist()):
        left, right = max(left, 0.0), min(right, float(width))
        top, bottom = max(top, 0.0), min(bottom, float(height))
        sides = (right - left, bottom - top)
        if min(sides) > 0:
            box = [left, top, *sides]
            objects.append({'bbox': box, 'area': sides[0] * sides[1], 'iscrowd': 0, 'category': category})
    classes = tuple(sorted({item['category'] for item in objects}))
    return LabelledImage(path.relative_to(root).as_posix(), classes, tuple(objects), size)
