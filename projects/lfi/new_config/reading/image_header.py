"""Sizes of image files from their headers, and files that end too early."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""Tag of EXIF, and its values for images that are shown with width and height swapped."""

ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
"""Last bytes of the common formats."""


def image_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of an image file as training loads it, or None if it is no complete image.

    The loaders turn photos by their EXIF orientation, as annotators see them.
    """
    # Pillow refuses huge images, which training can load.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            width, height = image.size
            _check_end(path, image)
            # Without EXIF in its header, Pillow would decode a PNG to look for some.
            is_turned = 'exif' in image.info and image.getexif().get(ORIENTATION) in TURNED
    # Pillow raises errors of any type at broken files.
    except Exception:
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return (height, width) if is_turned else (width, height)


def _check_end(path: Path, image: Image.Image) -> None:
    """Decode an image whose file does not end as its format does: a camera writes more, or it is truncated.

    Raises:
        Exception: of any type, if the image cannot be decoded.
    """
    end = ENDS.get(image.format or '')
    if end is None:
        return
    with path.open('rb') as file:
        file.seek(-min(64, path.stat().st_size), os.SEEK_END)
        if file.read().rstrip(b'\0').endswith(end):
            return
    # Pillow reads the complete JPEG, but decodes it at a smaller size, which is faster.
    image.draft(None, (1, 1))
    image.load()
