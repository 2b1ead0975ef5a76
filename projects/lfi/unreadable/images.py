"""Detection of unreadable images, and their error."""

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

# Formats that all decoders read if Pillow does.
COMMON_FORMATS = ('BMP', 'JPEG', 'PNG')
# Errors that a loader's code or arguments cause, not the image.
LOADER_ERRORS = (AttributeError, ImportError, KeyError, NameError, TypeError)
# Too many open files, or no memory: the next image would fail too.
SYSTEM_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Unreadable(NamedTuple):
    """An unreadable file.

    Args:
        path: path of the file in the data set.
        reason: cause, for messages.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f'{self.path}: this image cannot be read ({self.reason})'


def data_info(dataset: Any, index: int) -> dict:
    """Return a data info of the annotations, without random draws and without reading files."""
    if isinstance(dataset, BaseDataset):
        # A subclass' `get_data_info` may draw at random.
        return BaseDataset.get_data_info(dataset, index)
    return dict(dataset.data_list[index])


def find_undecodable_image(info: Mapping, pipeline: object) -> Unreadable | None:
    """Return the image of a data info if it cannot be decoded completely, or None.

    Common formats are decoded by Pillow, since some versions of OpenCV return a truncated file as an image
    with a grey or black remainder. Other formats are loaded by the pipeline's loaders.

    Args:
        info: data info of the image.
        pipeline: pipeline of the data set. Without a transform that loads `img_path`, the result is None.
    """
    return _check_image(info, list(_loaders(pipeline)), COMMON_FORMATS)


def find_cause_of_failure(info: Mapping, pipeline: object) -> Unreadable | None:
    """Return the unreadable file that made a pipeline fail; None if all files are readable.

    Args:
        info: data info of the image and of its label map, if any.
        pipeline: pipeline of the data set.
    """
    return _check_image(info, list(_loaders(pipeline)), ()) or _check_label_map(info)


def _check_image(info: Mapping, loaders: list[Any], trusted: Collection[str]) -> Unreadable | None:
    """Return the image if it is unreadable. Images of trusted formats pass once Pillow has decoded them."""
    path = info.get('img_path')
    if not isinstance(path, str | os.PathLike) or not loaders:
        return None
    try:
        content = get(path, backend_args=getattr(loaders[0], 'backend_args', None))
        if not content:
            return Unreadable(str(path), 'the file is empty')
        if _decode_and_get_format(content) in trusted:
            return None
        results: Any = dict(info)
        for load in loaders:
            results = load(results)
        image = None if results is None else results.get('img')
        # Another loader's image may have no `size`.
        empty = image is None or getattr(image, 'size', 1) == 0
        return Unreadable(str(path), 'it has no pixels') if empty else None
    except LOADER_ERRORS:
        return None
    # Decoders raise errors of many kinds.
    except Exception as error:
        return _from_error(path, error)


def _check_label_map(info: Mapping) -> Unreadable | None:
    """Return the label map of a segmentor's data info if it is unreadable."""
    path = info.get('seg_map_path')
    if not isinstance(path, str | os.PathLike):
        return None
    try:
        content = get(path)
        if not content:
            return Unreadable(str(path), 'the file is empty')
        _decode_and_get_format(content)
    except Exception as error:
        return _from_error(path, error)
    return None


def _from_error(path: str | os.PathLike, error: Exception) -> Unreadable:
    """Return an unreadable file with an error as its reason. Raise the error if the system caused it."""
    if isinstance(error, OSError) and error.errno in SYSTEM_ERRNOS:
        raise error
    if isinstance(error, OSError) and error.strerror:
        return Unreadable(str(path), error.strerror)
    if isinstance(error, AssertionError):
        # mmcv's assertion has no message beyond the path.
        return Unreadable(str(path), 'its format is unknown')
    return Unreadable(str(path), f'{type(error).__name__}: {" ".join(str(error).split())}')


def _decode_and_get_format(content: bytes) -> str | None:
    """Decode an image with Pillow and return its format; None if Pillow does not know the format."""
    try:
        image = Image.open(BytesIO(content))
    # The pipeline's loader may read images that are too large for Pillow.
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return None
    with image:
        # Pillow reads the complete JPEG, but decodes it at a smaller size, which is faster.
        image.draft(None, (1, 1))
        image.load()
    return image.format


def _loaders(step: Any) -> Iterator[Any]:
    """Iterate over the transforms of a pipeline that load an image, at any depth, in order."""
    name = type(step).__name__
    if isinstance(step, LoadImageFromFile) or (name.startswith('Load') and 'Image' in name):
        yield step
    # Attributes of these names may hold other things than transforms.
    for inner in (getattr(step, name, None) for name in ('pipeline', 'transforms')):
        for child in inner if isinstance(inner, list | tuple) else [inner]:
            if isinstance(child, BaseTransform | Compose) or hasattr(child, 'pipeline'):
                yield from _loaders(child)


class UnreadableImageError(UsageError):
    """Error about an unreadable image that may not be left out, or about too many of them in a data set.

    Args:
        message: text of the error.
        image: unreadable image. Defaults to None, for several images.
    """

    def __init__(self, message: str, image: Unreadable | None = None) -> None:
        super().__init__(message)
        self.image = image


class DroppedImageError(UnreadableImageError):
    """Error about an image that a step of the pipeline drops, by returning None. `image` is not None."""

    image: Unreadable
