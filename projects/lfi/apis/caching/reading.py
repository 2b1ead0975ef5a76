"""Reading of the images of a teacher's job, with a list of the unreadable ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tqdm import tqdm

from lfi.structures import InteractionMaps
from lfi.unreadable import (
    MAX_LOGGED,
    Counts,
    Unreadable,
    UnreadableList,
    none_readable_error,
    refuse_too_many,
)

from .job import Batch, TeacherJob


def split(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Split items into batches of `size`; the last one may be smaller."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def first_maps(job: TeacherJob) -> InteractionMaps:
    """Return the maps of the first image that can be read.

    Raises:
        UnreadableImageError: if no image can be read.
    """
    total = len(job.paths)
    for batch in job.batches(([row * job.views] for row in range(total)), 0):
        if batch.positions:
            return job.compute_maps(batch.data)
    raise none_readable_error(total, batch.unreadable[0], job.name)


class ImageReader:
    """Reader of images, which lists the unreadable ones.

    Args:
        job: teacher and images.
        num_workers: number of processes that load images.
        total: number of images.
        max_share: largest share of unreadable images, in [0, 1]; `max_unreadable` of the config.
        unreadable_list: file that lists unreadable images.
    """

    def __init__(
        self, job: TeacherJob, num_workers: int, total: int, max_share: float, unreadable_list: UnreadableList
    ) -> None:
        self.job, self.num_workers, self.total = job, num_workers, total
        self.max_share, self.unreadable_list = max_share, unreadable_list
        self.num_items = 0
        self.unreadable: dict[int, Unreadable] = {}

    def batches(self, item_batches: Sequence[Sequence[int]]) -> Iterator[tuple[Sequence[int], Batch]]:
        """Yield the items and the images of each batch.

        Raises:
            UnreadableImageError: if more than `max_share` of the images cannot be read.
        """
        for items, batch in zip(item_batches, self.job.batches(item_batches, self.num_workers)):
            self.num_items += len(items)
            for position, image in batch.unreadable.items():
                self.unreadable[items[position] // self.job.views] = image
                is_new = self.unreadable_list.add(image)
                self._refuse_too_many()
                if is_new and len(self.unreadable_list) <= MAX_LOGGED:
                    tqdm.write(f'{image}; it gets no maps')
            yield items, batch

    def _refuse_too_many(self) -> None:
        *others, latest = self.unreadable.values()
        # Images come folder by folder, so a share of the images read so far would mislead.
        num_read = min(-(-self.num_items // self.job.views), self.total)
        counts = Counts(len(others) + 1, num_read, self.total, denominator=self.total)
        names = [image.path for image in others]
        refuse_too_many(counts, self.max_share, latest, names, self.job.name)
