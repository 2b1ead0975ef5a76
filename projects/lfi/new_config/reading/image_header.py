"""Sizes of image files from their headers."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""Tag of EXIF, and its values for images that are shown with width and height swapped."""


def image_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of an image file as training loads it, or None if it is no image.

    The loaders turn photos by their EXIF orientation, as annotators see them.
    """
    # Pillow refuses huge images, which training can load.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Without EXIF in its header, Pillow would decode a PNG to look for some.
            is_turned = 'exif' in image.info and image.getexif().get(ORIENTATION) in TURNED
    # Pillow raises errors of any type at broken files.
    except Exception:
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return (height, width) if is_turned else (width, height)
