"""Sources of images: files, folders, videos and arrays."""

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
"""Share of a video's stated number of frames that may be missing."""

Load = Callable[[dict], dict]
"""Transform that loads the image at `img_path`."""


@dataclass(frozen=True)
class ArraySource:
    """Image in memory, (H, W, 3) uint8 BGR."""

    name: str
    image: np.ndarray

    def count(self, frame_stride: int) -> int:
        """Number of images."""
        return 1

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """Yield None and the image as input of a pipeline."""
        yield None, loaded_results(self.name, self.image)


@dataclass(frozen=True)
class FileSource:
    """Image file."""

    name: str

    def count(self, frame_stride: int) -> int:
        """Number of images."""
        return 1

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """Yield None and the image as input of a pipeline.

        Raises:
            OSError: If the image cannot be read in full; the message names the file.
        """
        try:
            # OpenCV reads a truncated JPEG as an image with a grey remainder.
            with Image.open(BytesIO(get(self.name))) as image:
                image.load()
            results = load({'img_path': self.name})
        except UnidentifiedImageError as error:
            raise OSError(f'{self.name}: this image cannot be read (its format is unknown)') from error
        # Pillow and OpenCV raise errors of any type at damaged files.
        except Exception as error:
            raise OSError(
                f'{self.name}: this image cannot be read ({type(error).__name__}: {error})'
            ) from error
        yield None, results


@dataclass(frozen=True)
class VideoSource:
    """Video file, read frame by frame."""

    name: str

    @property
    def fps(self) -> float:
        """Frames per second; 0 if the file does not state them."""
        return self._property(cv2.CAP_PROP_FPS)

    def count(self, frame_stride: int) -> int:
        """Number of images, by the length that the file states."""
        return -(-max(int(self._property(cv2.CAP_PROP_FRAME_COUNT)), 0) // frame_stride)

    def read(self, load: Load, frame_stride: int) -> Iterator[tuple[int | None, dict]]:
        """Yield every `frame_stride`-th frame with its number from 0, as input of a pipeline.

        Raises:
            OSError: If no frame can be read; or, after the last frame, if the video is incomplete.
        """
        capture = cv2.VideoCapture(self.name)
        frame = 0
        try:
            while capture.grab():
                if frame % frame_stride == 0:
                    success, image = capture.retrieve()
                    if not success:
                        break
                    yield frame, loaded_results(self.name, image)
                frame += 1
        finally:
            capture.release()
        if frame == 0:
            raise OSError(f'{self.name}: this video cannot be read')
        total = self.count(1)
        # Some formats only estimate their length.
        if frame < (1 - LENGTH_TOLERANCE) * total:
            raise OSError(f'{self.name}: this video ends after {frame} of the {total} frames that it states')

    def _property(self, key: int) -> float:
        capture = cv2.VideoCapture(self.name)
        try:
            return capture.get(key)
        finally:
            capture.release()


Source = ArraySource | FileSource | VideoSource


def list_sources(inputs: str | Path | np.ndarray | Source | Sequence) -> list[Source]:
    """List the sources of images, in the order of the inputs, without reading them.

    Args:
        inputs: Path or address (`https://…`) of an image or a video; path of a folder, for its images and
            those of its subfolders, in the order of their paths, without videos; an image, (H, W, 3) uint8
            BGR as OpenCV loads it; a source; or a list of these. Links to subfolders are followed.

    Raises:
        ValueError: If an array has another shape or type.
        UsageError: If a folder holds no images.
        TypeError: If an input has another type.
    """
    return list(_sources(inputs, 'inputs'))


def check_output(inputs: Sequence[str], out: str | Path, option: str) -> None:
    """Check that the next run would not read the output as an input.

    Args:
        inputs: Images, folders and videos.
        out: Folder to write to.
        option: Option that names the folder, for the message.

    Raises:
        UsageError: If the output folder lies in an input folder.
    """
    out_dir = Path(out).resolve()
    for folder in filter(os.path.isdir, inputs):
        if out_dir.is_relative_to(Path(folder).resolve()):
            raise UsageError(
                f'{option} {out} lies in the input folder {folder}: the next run would read its pictures as '
                'images. Choose a folder outside'
            )


def _sources(inputs: str | Path | np.ndarray | Source | Sequence, name: str) -> Iterator[Source]:
    if isinstance(inputs, Source):
        yield inputs
    elif isinstance(inputs, np.ndarray):
        if inputs.ndim != 3 or inputs.shape[2] != 3 or inputs.dtype != np.uint8:
            raise ValueError(
                f'{name} must be (H, W, 3) uint8 in BGR order, got shape {inputs.shape} of {inputs.dtype}'
            )
        yield ArraySource(name, inputs)
    elif isinstance(inputs, str) and '://' in inputs:
        # `Path` would merge the slashes of an address.
        video = Path(urlsplit(inputs).path).suffix.lower() in VIDEO_SUFFIXES
        yield VideoSource(inputs) if video else FileSource(inputs)
    elif isinstance(inputs, str | Path):
        yield from _files(Path(inputs))
    elif isinstance(inputs, Sequence):
        for i, item in enumerate(inputs):
            yield from _sources(item, f'{name}[{i}]')
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


def loaded_results(name: str, image: np.ndarray) -> dict:
    """Return an image as `LoadImageFromFile` would."""
    size = image.shape[:2]
    return dict(img_path=name, img=image, img_shape=size, ori_shape=size)
