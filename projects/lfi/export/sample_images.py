"""Images to compare and time models on."""

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
    count: int, shape: tuple[int, int], pixels: PixelFormat, folder: Path | None = None
) -> Tensor:
    """Normalised images, (count, 3, H, W) float32.

    Args:
        count: How many.
        shape: Their height and width in pixels; they are resized to it.
        pixels: How the student makes its pixels.
        folder: A folder of images, of which the first are taken, again and again where it has few. Defaults
            to None: the first test images of Shapes, which are drawn.

    Raises:
        UsageError: If there is no such folder, or it has no image that can be read.
    """
    images = drawn_images(max(shape), count) if folder is None else file_images(folder)
    taken = [mmcv.imresize(image, shape[::-1]) for image in islice(images, count)]
    batch = torch.from_numpy(np.stack(taken)).permute(0, 3, 1, 2).float()
    if pixels.rgb:
        batch = batch.flip(1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (pixels.mean, pixels.std))
    return ((batch - mean) / std).contiguous()


def drawn_images(side: int, count: int) -> Iterator[np.ndarray]:
    """Images of Shapes, (side, side, 3) uint8 BGR."""
    shapes = Shapes('test', num_images=count, img_size=max(side, MIN_IMG_SIZE), cache=False)
    return (shapes.get_data_info(index)['img'] for index in range(count))


def file_images(folder: Path) -> Iterator[np.ndarray]:
    """The images below a folder, over and over, as uint8 BGR."""
    if not folder.is_dir():
        raise UsageError(f'--images {folder}: there is no such folder')
    files = [folder / name for name in image_names(folder)]
    if not files:
        raise UsageError(f'--images {folder}: no image ({", ".join(IMG_EXTENSIONS)}) lies in it')
    return _readable(files, folder)


def _readable(files: list[Path], folder: Path) -> Iterator[np.ndarray]:
    read = []
    for path in files:
        # What a pipeline loads images with; an empty file is an error of OpenCV.
        try:
            image = mmcv.imread(str(path))
        except cv2.error:
            image = None
        if image is None:
            print_log(f'{path}: this image cannot be read; skipped', 'current', logging.WARNING)
            continue
        read.append(path)
        yield image
    if not read:
        raise UsageError(f'--images {folder}: none of the {len(files)} images in it can be read')
    yield from (mmcv.imread(str(path)) for path in cycle(read))
