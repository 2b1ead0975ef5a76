"""The inputs of an inferencer, files, folders, videos and arrays, as sources of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from mmengine.fileio import get
from PIL import Image, UnidentifiedImageError
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError
from lfi.utils.folders import VIDEO_SUFFIXES, image_names

LENGTH_TOLERANCE = 0.05
"""Of the number of frames that a video states."""

Load = Callable[[dict], dict]
"""A transform that loads the image at `img_path`."""


@dataclass(frozen=True)
class ArraySource:
    """An image in memory, (H, W, 3) uint8 BGR."""

    name: str
    image: np.ndarray

    def count(self, frame_stride: int) -> int:
        """How many images the source holds."""
        return 1

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """The image, as a pipeline takes it."""
        yield None, as_loaded(self.name, self.image)


@dataclass(frozen=True)
class FileSource:
    """An image file."""

    name: str

    def count(self, frame_stride: int) -> int:
        """How many images the source holds."""
        return 1

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """The image, as a pipeline takes it.

        Raises:
            OSError: If it cannot be read in full; the message names the file.
        """
        try:
            # OpenCV reads a truncated JPEG as an image with a grey remainder.
            with Image.open(BytesIO(get(self.name))) as image:
                image.load()
            results = load({'img_path': self.name})
        except UnidentifiedImageError as error:
            raise OSError(f'{self.name}: this image cannot be read (its format is unknown)') from error
        # Pillow and OpenCV raise errors of many types, by format and by damage.
        except Exception as error:
            raise OSError(
                f'{self.name}: this image cannot be read ({type(error).__name__}: {error})'
            ) from error
        yield None, results


@dataclass(frozen=True)
class VideoSource:
    """A video file, read frame by frame."""

    name: str

    @property
    def fps(self) -> float:
        """Frames per second; 0 where the file does not state it."""
        return self._property(cv2.CAP_PROP_FPS)

    def count(self, frame_stride: int) -> int:
        """How many images it holds by the length that the file states."""
        return -(-max(int(self._property(cv2.CAP_PROP_FRAME_COUNT)), 0) // frame_stride)

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """Every `frame_stride`-th frame with its number from 0, as a pipeline takes it.

        Raises:
            OSError: If no frame can be read, or, after the last one, if it is not complete; the message names
                the file.
        """
        capture = cv2.VideoCapture(self.name)
        frame = 0
        try:
            while capture.grab():
                if frame % frame_stride == 0:
                    good, image = capture.retrieve()
                    if not good:
                        break
                    yield frame, as_loaded(self.name, image)
                frame += 1
        finally:
            capture.release()
        if frame == 0:
            raise OSError(f'{self.name}: this video cannot be read')
        stated = self.count(1)
        # Some formats estimate their length.
        if frame < (1 - LENGTH_TOLERANCE) * stated:
            raise OSError(f'{self.name}: this video ends after {frame} of the {stated} frames that it states')

    def _property(self, key: int) -> float:
        capture = cv2.VideoCapture(self.name)
        try:
            return capture.get(key)
        finally:
            capture.release()


Source = ArraySource | FileSource | VideoSource


def list_sources(inputs: str | Path | np.ndarray | Sequence) -> list[Source]:
    """The sources of the images, in the order of the inputs; nothing is read yet.

    Args:
        inputs: The path or the address (`https://…`) of an image or of a video; the path of a folder, whose
            images are taken in the order of their paths, with those of its subfolders, links among them, and
            without its videos; an image, (H, W, 3) uint8 BGR as OpenCV loads it; or a list of any of these.

    Raises:
        ValueError: If an array has another shape or type.
        UsageError: If a folder holds no images.
        TypeError: If an input is something else.
    """
    return list(_sources(inputs, 'inputs'))


def check_output(inputs: Sequence[str], out: str | Path, option: str) -> None:
    """Check that what is written will not be read as an input the next time.

    Args:
        inputs: Images, folders and videos.
        out: The folder to write to.
        option: By which it was given, for the message.

    Raises:
        UsageError: If it lies in one of the folders.
    """
    written = Path(out).resolve()
    for folder in filter(os.path.isdir, inputs):
        if written.is_relative_to(Path(folder).resolve()):
            raise UsageError(
                f'{option} {out} lies in {folder}, whose images are read: the pictures that are written '
                'there would be images of the next run. Choose a folder outside'
            )


def _sources(inputs: str | Path | np.ndarray | Sequence, name: str) -> Iterator[Source]:
    if isinstance(inputs, np.ndarray):
        if inputs.ndim != 3 or inputs.shape[2] != 3 or inputs.dtype != np.uint8:
            raise ValueError(
                f'{name} must be (H, W, 3) uint8 in BGR order, got shape {inputs.shape} of {inputs.dtype}'
            )
        yield ArraySource(name, inputs)
    elif isinstance(inputs, str) and '://' in inputs:
        # A path would lose one of the slashes.
        video = Path(urlsplit(inputs).path).suffix.lower() in VIDEO_SUFFIXES
        yield VideoSource(inputs) if video else FileSource(inputs)
    elif isinstance(inputs, str | Path):
        yield from _files(Path(inputs))
    elif isinstance(inputs, Sequence):
        for i, each in enumerate(inputs):
            yield from _sources(each, f'{name}[{i}]')
    else:
        raise TypeError(f'{name} must be a path, an array or a list of these, got {type(inputs).__name__}')


def _files(path: Path) -> Iterator[Source]:
    if path.is_dir():
        files = image_names(path)
        if not files:
            raise UsageError(f'the folder {path} holds no images ({", ".join(IMG_EXTENSIONS)})')
        yield from (FileSource(str(path / name)) for name in sorted(files, key=Path))
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        yield VideoSource(str(path))
    else:
        yield FileSource(str(path))


def as_loaded(name: str, image: np.ndarray) -> dict:
    """An image as `LoadImageFromFile` leaves it."""
    size = image.shape[:2]
    return dict(img_path=name, img=image, img_shape=size, ori_shape=size)
