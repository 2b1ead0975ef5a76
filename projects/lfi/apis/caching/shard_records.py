"""Records of a shard, computed batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfi.datasets.transforms.view_draws import COLOURS
from lfi.errors import UsageError
from lfi.structures import is_missing, missing_records, pack
from lfi.structures.interaction_cache import NUM_COMPLETE, make_records

from .job import FILE_DIGEST, AskedTeacher

COMPLETE_VIEWS = np.array([[[1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0]]], np.float32)
"""Views of the complete image: as it is, and mirrored."""


class ShardRecords:
    """Records of the views of a shard's images.

    Args:
        job: teacher to ask.
        packed_dtype: dtype of the packed maps.
    """

    def __init__(self, job: AskedTeacher, packed_dtype: np.dtype) -> None:
        self.job, self.packed_dtype = job, packed_dtype
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, places: Sequence[int], data: dict) -> None:
        """Ask the teacher about a batch of readable images.

        Args:
            places: `position * views + view` of each image in the batch.
            data: collated images and data samples.

        Raises:
            UsageError: if the maps cannot be stored, for example because a value is not finite.
        """
        matrices, colours = np.zeros((len(places), 2, 3), np.float32), np.zeros((len(places), 6), np.uint8)
        for i, (place, sample) in enumerate(zip(places, data['data_samples'])):
            view = place % self.job.views
            if view < NUM_COMPLETE:
                matrices[i] = COMPLETE_VIEWS[view]
            else:
                matrices[i], colours[i] = sample.view, getattr(sample, COLOURS)
        # An image in a tar has no file of its own.
        digests = np.array(data.get(FILE_DIGEST, [0] * len(places)), np.uint32)
        self._parts.append((np.array(places), self._packed_maps(data), digests, matrices, colours))

    def _packed_maps(self, data: dict) -> np.ndarray:
        try:
            return pack(self.job.compute_maps(data))
        except ValueError as error:
            files = ', '.join(sample.img_path for sample in data['data_samples'])
            raise UsageError(
                f'the maps of the teacher cannot be stored: {error}. The batch: {files}'
            ) from error

    def build(self, num_images: int) -> np.ndarray:
        """Return the records (n, K) of the n images. An image lacks all views if it lacks one.

        Args:
            num_images: n.
        """
        shape = (num_images, self.job.views)
        num_items = num_images * self.job.views
        packed = missing_records(num_items, self.packed_dtype)
        digests = np.zeros(num_items, np.uint32)
        views, colours = np.zeros((num_items, 2, 3), np.float32), np.zeros((num_items, 6), np.uint8)
        for places, *part in self._parts:
            packed[places], digests[places], views[places], colours[places] = part
        packed = packed.reshape(shape)
        packed[is_missing(packed.ravel()).reshape(shape).any(1)] = missing_records(1, packed.dtype)[0]
        if self.job.views == 1:
            return make_records(packed, digests.reshape(shape))
        return make_records(
            packed, digests.reshape(shape), views.reshape(*shape, 2, 3), colours.reshape(*shape, 6)
        )
