"""Images of any kind as sources: paths, RGB arrays, PIL images, and lists of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from lfi.errors import UsageError
from lfi.utils.folders import VIDEO_SUFFIXES

from .sources import ArraySource, Source, list_sources

Images: TypeAlias = str | Path | np.ndarray | Image.Image | Sequence
"""An image or several: a path or address, an array (H, W, 3) uint8 RGB, a PIL image, a folder, a video, or a
list of these."""


@dataclass(frozen=True)
class ImageInputs:
    """Sources of the images of a call.

    Args:
        sources: the sources, in order.
        single: whether the call names one image, and not a list, a folder or a video.
        required: names of the sources that the call names one by one, and that must be readable.
    """

    sources: list[Source]
    single: bool
    required: frozenset[str]

    def check_read(self, skipped: Sequence[str]) -> None:
        """Check that all images that the call names were read.

        Raises:
            UsageError: if one of them was skipped.
        """
        unread = [name for name in skipped if name in self.required]
        if unread:
            raise UsageError(
                f'images: {unread[0]} cannot be read, and the log says why: replace it or leave it out'
            )


def image_inputs(images: Images) -> ImageInputs:
    """Return the sources of images.

    Args:
        images: path or address of an image or a video; path of a folder of images; array (H, W, 3) uint8 in
            RGB order; PIL image; or list of these.

    Raises:
        UsageError: if a file does not exist, or an image has another shape or type.
    """
    pairs = list(_inputs(images, 'images'))
    required = {source.name for source, from_group in pairs if not from_group}
    single = not isinstance(images, list | tuple) and len(required) == len(pairs) == 1
    return ImageInputs([source for source, _ in pairs], single, frozenset(required))


def _inputs(images: Images, name: str) -> Iterator[tuple[Source, bool]]:
    """Yield each source, and whether it comes from a folder or a video."""
    if isinstance(images, Image.Image):
        # Files are loaded upright.
        upright = ImageOps.exif_transpose(images)
        yield (
            ArraySource(getattr(images, 'filename', '') or name, _bgr(np.asarray(upright.convert('RGB')))),
            False,
        )
    elif isinstance(images, np.ndarray):
        if images.ndim != 3 or images.shape[2] != 3 or images.dtype != np.uint8:
            raise UsageError(
                f'{name} has the shape {images.shape} and the type {images.dtype}: an array must be '
                '(H, W, 3) uint8 in RGB order. Give an image of another kind as PIL.Image'
            )
        yield ArraySource(name, _bgr(images)), False
    elif isinstance(images, str | Path):
        if '://' not in str(images) and not Path(images).expanduser().exists():
            raise UsageError(f'{name}={str(images)!r} does not exist')
        path = images if '://' in str(images) else Path(images).expanduser()
        from_group = Path(path).is_dir() or Path(path).suffix.lower() in VIDEO_SUFFIXES
        yield from ((source, from_group) for source in list_sources(path))
    elif isinstance(images, Sequence):
        for index, image in enumerate(images):
            yield from _inputs(image, f'{name}[{index}]')
    else:
        raise UsageError(
            f'{name} is a {type(images).__name__}: give a path, an array (H, W, 3) uint8 in RGB order, a PIL '
            'image, or a list of these'
        )


def _bgr(rgb: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rgb[..., ::-1])
