"""Images on which models are compared and timed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.datasets import Shapes
from lfi.datasets.shapes import MIN_IMG_SIZE
from lfi.errors import UsageError
from lfi.structures import PixelFormat
from lfi.utils.folders import image_names


def sample_images(
    count: int, shape: tuple[int, int], pixel_format: PixelFormat, folder: Path | None = None
) -> Tensor:
    """Load normalised images, (count, 3, H, W) float32.

    Args:
        count: number of images.
        shape: height and width in pixels, to which images are resized.
        pixel_format: normalisation of the student's images.
        folder: folder of images; its first images are used, repeatedly if there are too few. Defaults to
            None: the first test images of Shapes.

    Raises:
        UsageError: if the folder does not exist, or has no readable image.
    """
    images = drawn_images(max(shape), count) if folder is None else file_images(folder)
    resized = [mmcv.imresize(image, shape[::-1]) for image in islice(images, count)]
    batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()
    if pixel_format.rgb:
        batch = batch.flip(1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (pixel_format.mean, pixel_format.std))
    return ((batch - mean) / std).contiguous()


def drawn_images(side: int, count: int) -> Iterator[np.ndarray]:
    """Draw images of Shapes, (side, side, 3) uint8 BGR."""
    shapes = Shapes('test', num_images=count, img_size=max(side, MIN_IMG_SIZE), cache=False)
    return (shapes.get_data_info(index)['img'] for index in range(count))


def file_images(folder: Path) -> Iterator[np.ndarray]:
    """Read the images below a folder in an endless cycle, as uint8 BGR. See `sample_images` for errors."""
    if not folder.is_dir():
        raise UsageError(f'--images {folder}: there is no such folder')
    files = [folder / name for name in image_names(folder)]
    if not files:
        raise UsageError(f'--images {folder}: it has no image ({", ".join(IMG_EXTENSIONS)})')
    return _read_cyclically(files, folder)


def _read_cyclically(files: list[Path], folder: Path) -> Iterator[np.ndarray]:
    readable = []
    for path in files:
        # Pipelines load images with mmcv too. OpenCV raises an error for an empty file.
        try:
            image = mmcv.imread(str(path))
        except cv2.error:
            image = None
        if image is None:
            print_log(f'{path}: this image cannot be read; skipped', 'current', logging.WARNING)
            continue
        readable.append(path)
        yield image
    if not readable:
        raise UsageError(f'--images {folder}: none of the {len(files)} images in it can be read')
    yield from (mmcv.imread(str(path)) for path in cycle(readable))
