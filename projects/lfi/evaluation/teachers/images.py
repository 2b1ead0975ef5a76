"""The images that a teacher is measured on."""

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
class Shown:
    """What is known of an image.

    Args:
        image: (H, W, 3) uint8, BGR.
        masks: (H, W) bool, where each class that is annotated can be seen.
        label: the class of the complete image; None where the data set labels objects alone.
        crowds: the classes that only ignored objects show, such as COCO's crowds. Defaults to none.
    """

    # Arrays: a loader's worker hands each tensor over by a file that stays open.
    image: np.ndarray
    masks: dict[int, np.ndarray]
    label: int | None
    crowds: frozenset[int] = frozenset()

    @cached_property
    def pixels(self) -> Tensor:
        """(3, H, W) uint8, BGR."""
        return torch.from_numpy(self.image).permute(2, 0, 1)

    @cached_property
    def regions(self) -> dict[int, Tensor]:
        """(H, W) bool, where each class that is annotated can be seen."""
        return {c: torch.from_numpy(mask) for c, mask in self.masks.items()}

    def of_area(self, area: tuple[float, float]) -> dict[int, Tensor]:
        """The regions that cover as much of the image as is asked for."""
        low, high = area
        return {c: mask for c, mask in self.regions.items() if low <= mask.float().mean() <= high}


class Images(Dataset):
    """Images as they are on disk, and their regions by class; `located` says whether they have any.

    Args:
        cfg: the config whose validation images they are.
        count: only so many, evenly spaced. Defaults to all.
        batch_size: images at once. Defaults to 16.
        num_workers: processes that load them. Defaults to 1.

    Raises:
        UsageError: If the data set has neither boxes, masks nor labels, or several labels an image.
    """

    def __init__(
        self, cfg: Config, count: int | None = None, batch_size: int = 16, num_workers: int = 1
    ) -> None:
        self.data: Dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
        refuse_unreadable(self.data)
        self.indices = evenly_spaced(len(self.data), count or len(self.data))
        self.batch_size, self.num_workers = batch_size, num_workers
        self.located = _is_located(self.data[0])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Shown:
        results = self.data[self.indices[index]]
        label = results.get('gt_label')
        known = label is not None and int(label) >= 0
        found = objects_of(results) if self.located else None
        regions, crowds = ({}, {}) if found is None else (found.regions(), found.crowds())
        return Shown(
            np.ascontiguousarray(results['img']),
            regions,
            int(label) if known else None,
            frozenset(crowds.keys() - regions.keys()),
        )

    def batches(self) -> DataLoader[list[Shown]]:
        """The images in their order, as lists of a batch."""
        return DataLoader(self, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=list)


def _is_located(results: dict) -> bool:
    """Whether a data set says where things are, and not only which label an image has."""
    label = results.get('gt_label')
    if label is not None and np.ndim(label):
        raise UsageError(
            f'the data set gives an image several labels, gt_label={label!r}: single labels, boxes and masks '
            'are read'
        )
    try:
        regions_of(results)
    except UsageError:
        if label is not None:
            return False
        raise
    return True


def picked(images: Images, count: int) -> np.ndarray:
    """The indices of `count` images, drawn by a fixed seed."""
    return np.random.default_rng(0).permutation(len(images))[:count]
