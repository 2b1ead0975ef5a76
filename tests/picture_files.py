"""Pictures as files."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from lfi.datasets import Shapes
from PIL import Image


def write_shapes(split: str, files: Sequence[Path], **arguments) -> None:
    """Write pictures of Shapes, one to each file; folders are made.

    Args:
        split: Of the data set.
        files: Where they go, in the order of their index.
        **arguments: Of the data set.
    """
    data = Shapes(split, num_images=len(files), **arguments)
    for index, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), data.get_data_info(index)['img'])


def write_noise(file: Path, seed: int, width: int = 64, height: int = 64) -> None:
    """Write a JPEG file of random pixels, whatever its suffix; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format='JPEG')
