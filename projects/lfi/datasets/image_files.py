"""Base class of the data sets whose images are files: unreadable and truncated files are found and named."""

import logging
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import Compose
from mmengine.fileio import get
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset
from PIL import Image

from .shared_array import SharedArray

UNKNOWN, GOOD, BAD = 0, 1, 2
# What Pillow decodes of these, other decoders do too.
COMMON_FORMATS = ('BMP', 'JPEG', 'PNG')


class ImageFileDataset(BaseDataset):
    """An mmpretrain data set that decodes each file once, in full, before the pipeline first sees it.

    OpenCV returns a truncated JPEG as an image with a grey remainder; this is an error here. So is what the
    pipeline's own loader cannot decode. The check is made at a file's first use only, and what it found is
    shared with forked workers.

    Args:
        data_root: Folder of the data set.
        skip_bad_images: In training, take another random image for one that cannot be read, warn once for
            each file, and count it in `num_bad_images`. With `test_mode=True` a bad image is always an error,
            because leaving it out would change the metric. Defaults to False: always an error.
        pipeline: Transforms, of mmpretrain unless they name a scope.
        **kwargs: Those of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        OSError: When an item is taken whose file cannot be read; the message names the file. With
            `skip_bad_images`, when no file can be read.
    """

    def __init__(
        self, data_root: str | Path, skip_bad_images: bool = False, pipeline: Sequence = (), **kwargs: Any
    ) -> None:
        self.skip_bad_images = skip_bad_images
        self._checked = SharedArray(0, np.uint8)
        super().__init__(ann_file='', data_root=str(data_root), pipeline=pipeline, **kwargs)

    @property
    def num_bad_images(self) -> int:
        """How many different files were found unreadable so far, by this process and its forked workers.

        Workers that are spawned count their own, and their counts end with them.
        """
        return int((self._checked.array == BAD).sum())

    def full_init(self) -> None:
        """Read the annotations; make the memory in which workers note bad files."""
        super().full_init()
        # Made before any worker is forked, so that all of them share it.
        if self._checked.length != len(self):
            self._checked = SharedArray(len(self), np.uint8)

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep these images alone, or the first so many."""
        super().get_subset_(indices)
        self._checked = SharedArray(len(self), np.uint8)

    def get_subset(self, indices: Sequence[int] | int) -> 'ImageFileDataset':
        """Copy the data set with these images alone, or the first so many."""
        subset = super().get_subset(indices)
        subset._checked = SharedArray(len(subset), np.uint8)
        return subset

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline on item `idx`; None, for a bad image to skip, makes mmengine draw another."""
        self.full_init()
        if self._checked.array[idx] != GOOD:
            info = self.get_data_info(idx)
            path = info['img_path']
            try:
                with Image.open(BytesIO(get(path))) as image:
                    image.load()
                    if image.format not in COMMON_FORMATS:
                        self._load(info)
            # Pillow raises OSError, SyntaxError or ValueError, by format and by the kind of damage.
            except Exception as error:
                self._handle_bad_image(idx, path, error)
                return None
            self._checked.array[idx] = GOOD
        return super().prepare_data(idx)

    def _load(self, info: dict) -> None:
        """Decode a file as the pipeline does; raises what its loader raises."""
        for transform in _loaders(self.pipeline):
            transform(info)

    def _handle_bad_image(self, idx: int, path: str, error: Exception) -> None:
        first_time = self._checked.array[idx] == UNKNOWN
        self._checked.array[idx] = BAD
        reason = f'{path}: this image cannot be read ({type(error).__name__}: {error})'
        if self.test_mode:
            raise OSError(
                f'{reason}. Replace the file: images are never skipped in test mode, because that would '
                'silently change the metric'
            ) from error
        if self.num_bad_images == len(self):
            raise OSError(
                f'{self.data_root}: none of the {len(self)} images can be read. Replace the files, or '
                f'correct data_root; the last was {reason}'
            ) from error
        if not self.skip_bad_images:
            raise OSError(
                f'{reason}. Replace the file, or set skip_bad_images=True on the data set to train without it'
            ) from error
        if first_time:
            print_log(
                f'{reason}; skipped, {self.num_bad_images} bad so far',
                logger='current',
                level=logging.WARNING,
            )

    def extra_repr(self) -> list[str]:
        """Lines of the data set's description."""
        return [f'Root: \t{self.data_root}', f'Bad images so far: \t{self.num_bad_images}']


def _loaders(step: Any) -> Iterator[LoadImageFromFile]:
    """Those of a pipeline, at any depth, in their order."""
    if isinstance(step, LoadImageFromFile):
        yield step
    # Transforms of other projects keep lists of other things.
    for inner in (getattr(step, name, None) for name in ('pipeline', 'transforms')):
        for child in inner if isinstance(inner, list | tuple) else [inner]:
            if isinstance(child, BaseTransform | Compose) or hasattr(child, 'pipeline'):
                yield from _loaders(child)
