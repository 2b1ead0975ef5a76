"""Images on which a teacher is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lfi.datasets import objects_of, regions_of, unaugmented
from lfi.errors import UsageError
from lfi.unreadable import refuse_unreadable
from lfi.utils.arrays import evenly_spaced


@dataclass(frozen=True)
class ImageSample:
    """Image with its annotations.

    Args:
        image: (H, W, 3) uint8, BGR.
        masks: region of each annotated class, (H, W) bool.
        label: class of the whole image; None if the data set annotates objects only.
        crowds: classes that only ignored objects show, such as crowds of COCO. Defaults to none.
    """

    # Arrays, not tensors: a worker passes each tensor through a file that stays open.
    image: np.ndarray
    masks: dict[int, np.ndarray]
    label: int | None
    crowds: frozenset[int] = frozenset()

    @cached_property
    def pixels(self) -> Tensor:
        """The image as a tensor, (3, H, W) uint8, BGR."""
        return torch.from_numpy(self.image).permute(2, 0, 1)

    @cached_property
    def regions(self) -> dict[int, Tensor]:
        """Region of each annotated class, (H, W) bool."""
        return {c: torch.from_numpy(mask) for c, mask in self.masks.items()}

    def regions_of_area(self, area: tuple[float, float]) -> dict[int, Tensor]:
        """Return the regions whose share of the image lies within `area`, (smallest, largest)."""
        low, high = area
        return {c: mask for c, mask in self.regions.items() if low <= mask.float().mean() <= high}


class Images(Dataset):
    """Unaugmented validation images with regions by class; `has_regions` is whether the data set has any.

    Args:
        cfg: config with `val_dataloader`.
        count: number of images, evenly spaced. Defaults to all.
        batch_size: number of images in a batch. Defaults to 16.
        num_workers: number of processes that load images. Defaults to 1.

    Raises:
        UsageError: if the data set has no boxes, masks or labels, or several labels for an image.
    """

    def __init__(
        self, cfg: Config, count: int | None = None, batch_size: int = 16, num_workers: int = 1
    ) -> None:
        self.data: Dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
        refuse_unreadable(self.data)
        self.indices = evenly_spaced(len(self.data), count or len(self.data))
        self.batch_size, self.num_workers = batch_size, num_workers
        self.has_regions = _has_regions(self.data[0])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> ImageSample:
        results = self.data[self.indices[index]]
        label = results.get('gt_label')
        has_label = label is not None and int(label) >= 0
        objects = objects_of(results) if self.has_regions else None
        regions, crowds = ({}, {}) if objects is None else (objects.regions(), objects.crowds())
        return ImageSample(
            np.ascontiguousarray(results['img']),
            regions,
            int(label) if has_label else None,
            frozenset(crowds.keys() - regions.keys()),
        )

    def batches(self) -> DataLoader[list[ImageSample]]:
        """Return a loader of batches, in the order of the images."""
        return DataLoader(self, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=list)


def _has_regions(results: dict) -> bool:
    """Whether a data set annotates boxes or masks, and not only image labels."""
    label = results.get('gt_label')
    if label is not None and np.ndim(label):
        raise UsageError(
            f'the data set gives an image several labels, gt_label={label!r}: use a data set with one '
            'label for each image, or with boxes or masks'
        )
    try:
        regions_of(results)
    except UsageError:
        if label is not None:
            return False
        raise
    return True


def sample_indices(images: Images, count: int) -> np.ndarray:
    """Draw the indices of `count` images with a fixed seed."""
    return np.random.default_rng(0).permutation(len(images))[:count]
