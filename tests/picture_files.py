"""Pictures as files."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from lfi.datasets import Shapes


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
