"""Which image of a data set cannot be read, and why; and the error that says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset, Compose
from mmengine.fileio import get
from PIL import Image, UnidentifiedImageError

from lfi.errors import UsageError

# What Pillow decodes of these, other decoders do too.
COMMON_FORMATS = ('BMP', 'JPEG', 'PNG')
# What a loader raises at any image: of its code or its arguments.
OF_THE_LOADER = (AttributeError, ImportError, KeyError, NameError, TypeError)
# Too many open files, or no memory: the next image fares no better.
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Unreadable(NamedTuple):
    """A file that cannot be read.

    Args:
        path: as the data set has it.
        reason: what was found.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f'{self.path}: this image cannot be read ({self.reason})'


def info_of(dataset: Any, index: int) -> dict:
    """A data info as the annotations have it: nothing is drawn at random, or read, for it."""
    if isinstance(dataset, BaseDataset):
        # Data sets of their own `get_data_info` may draw.
        return BaseDataset.get_data_info(dataset, index)
    return dict(dataset.data_list[index])


def damaged(info: Mapping, pipeline: object) -> Unreadable | None:
    """The image of a data info, if it cannot be decoded in full.

    Some versions of OpenCV return a truncated file as an image with a grey or black remainder, so that Pillow
    decodes what it knows. What it does not know, or other decoders might not, is loaded as the pipeline does.

    Args:
        info: of the image.
        pipeline: of the data set. Without a transform that loads `img_path` nothing is found.
    """
    return _unreadable(info, list(_loaders(pipeline)), COMMON_FORMATS)


def find_unreadable(info: Mapping, pipeline: object) -> Unreadable | None:
    """The file for which a pipeline failed; None if its files can be read, so that it failed by itself.

    Args:
        info: of the image, whose label map may be to blame as well.
        pipeline: of the data set.
    """
    return _unreadable(info, list(_loaders(pipeline)), ()) or _unreadable_map(info)


def _unreadable(info: Mapping, loaders: list[Any], trusted: Collection[str]) -> Unreadable | None:
    path = info.get('img_path')
    if not isinstance(path, str | os.PathLike) or not loaders:
        return None
    try:
        content = get(path, backend_args=getattr(loaders[0], 'backend_args', None))
        if not content:
            return Unreadable(str(path), 'the file is empty')
        if _format(content) in trusted:
            return None
        results: Any = dict(info)
        for load in loaders:
            results = load(results)
        image = None if results is None else results.get('img')
        # Of another loader's results only this one's are known.
        empty = image is None or getattr(image, 'size', 1) == 0
        return Unreadable(str(path), 'it has no pixels') if empty else None
    except OF_THE_LOADER:
        return None
    # Pillow and decoders raise anything, by format and by the kind of damage.
    except Exception as error:
        return _because(path, error)


def _unreadable_map(info: Mapping) -> Unreadable | None:
    """The label map of a segmentor's data info, if it cannot be read."""
    path = info.get('seg_map_path')
    if not isinstance(path, str | os.PathLike):
        return None
    try:
        content = get(path)
        if not content:
            return Unreadable(str(path), 'the file is empty')
        _format(content)
    except Exception as error:
        return _because(path, error)
    return None


def _because(path: str | os.PathLike, error: Exception) -> Unreadable:
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        raise error
    if isinstance(error, OSError) and error.strerror:
        return Unreadable(str(path), error.strerror)
    if isinstance(error, AssertionError):
        # What mmcv asserts of what is decoded says no more than the path.
        return Unreadable(str(path), 'its format is unknown')
    return Unreadable(str(path), f'{type(error).__name__}: {" ".join(str(error).split())}')


def _format(content: bytes) -> str | None:
    """The format of an image that Pillow has decoded in full; None where it knows none."""
    try:
        image = Image.open(BytesIO(content))
    # What is too large for Pillow is left to the pipeline's own loader.
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return None
    with image:
        # A JPEG's bits are all read for a small image, too, which takes less time.
        image.draft(None, (1, 1))
        image.load()
    return image.format


def _loaders(step: Any) -> Iterator[Any]:
    """The transforms of a pipeline that load an image from its file, at any depth, in their order."""
    name = type(step).__name__
    if isinstance(step, LoadImageFromFile) or (name.startswith('Load') and 'Image' in name):
        yield step
    # Transforms of other projects keep lists of other things.
    for inner in (getattr(step, name, None) for name in ('pipeline', 'transforms')):
        for child in inner if isinstance(inner, list | tuple) else [inner]:
            if isinstance(child, BaseTransform | Compose) or hasattr(child, 'pipeline'):
                yield from _loaders(child)


class UnreadableImageError(UsageError):
    """An image that cannot be read where none is left out; or too many of a data set.

    Args:
        message: what is said.
        image: the one that was asked for. Defaults to None: it is about several.
    """

    def __init__(self, message: str, image: Unreadable | None = None) -> None:
        super().__init__(message)
        self.image = image
