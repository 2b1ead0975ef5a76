"""What a batch of an OpenMMLab data loader says of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .interaction_cache import StoredMaps
from .labels import is_unlabelled
from .mixed_maps import BatchMixture
from .tiles import Tiles

CACHE_KEYS = ('view', 'interaction_maps')
"""What a pipeline packs for a cached teacher: the view of the file, and the file's maps."""


@dataclass(frozen=True)
class PixelFormat:
    """How a batch's pixels were made from RGB values in [0, 255]: (value - mean) / std.

    Args:
        mean: three numbers, in the batch's channel order.
        std: three numbers, in the batch's channel order.
        rgb: whether the batch's channels are RGB; else BGR.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool

    @classmethod
    def raw(cls, rgb: bool = False) -> PixelFormat:
        """The format of values in [0, 255], which images have when they are loaded: as BGR."""
        return cls((0.0,) * 3, (1.0,) * 3, rgb)


@dataclass(frozen=True)
class BatchView:
    """What a batch says of its images: made once a step, and passed on.

    A teacher that is asked online reads the images. A cached teacher reads the stored records, and brings
    them into the views.

    Args:
        inputs: (B, 3, H, W), as the student gets them.
        pixels: how their pixels were made.
        valid_sizes: height and width in pixels of each image's area at the top left that is not padding.
        labelled: the rows that have a label. Defaults to None: all.
        labels: (B, C) in [0, 1], the labels of what the view shows, among the concepts. Defaults to None: no
            concept is asked about.
        stored: what a cache holds of each image. Defaults to None: the pipeline has read nothing.
        views: (B, 2, 3), what each image shows of its file, as `InteractionMaps.warp` takes it. They stay
            on the CPU, where a test for an upright view costs no wait. Defaults to None: none are recorded.
        tiles: where each image shows several files (Mosaic). Defaults to None: all show one.
        mixture: how the images were mixed after that (Mixup, CutMix). Defaults to None: they were not.
        data_samples: of the batch. Defaults to none.
    """

    inputs: Tensor
    pixels: PixelFormat
    valid_sizes: Sequence[tuple[int, int]]
    labelled: Sequence[int] | None = None
    labels: Tensor | None = None
    stored: Sequence[StoredMaps] | None = None
    views: Tensor | None = None
    tiles: Sequence[Tiles] | None = None
    mixture: BatchMixture | None = None
    data_samples: Sequence = field(default=(), repr=False)

    @classmethod
    def of(
        cls, inputs: Tensor, data_samples: Sequence, pixels: PixelFormat, labels: Tensor | None = None
    ) -> BatchView:
        """Read what the samples of a preprocessed batch say."""
        stored = _stored_maps(data_samples)
        return cls(
            inputs,
            pixels,
            valid_sizes_of(inputs, data_samples),
            labelled_rows(data_samples),
            labels,
            stored,
            _recorded_views(data_samples),
            _recorded_tiles(data_samples, stored),
            recorded_mixture(data_samples),
            data_samples,
        )

    @classmethod
    def raw(
        cls, inputs: Tensor, valid_sizes: Sequence[tuple[int, int]], labels: Tensor | None = None
    ) -> BatchView:
        """Images as they are loaded, each at the top left of the batch: BGR, from 0 to 255."""
        return cls(inputs, PixelFormat.raw(), valid_sizes, labels=labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the batch."""
        return self.inputs.shape[-2], self.inputs.shape[-1]

    @property
    def names(self) -> str:
        """The images' files in their order, for messages."""
        return ', '.join(str(getattr(sample, 'img_path', 'unknown')) for sample in self.data_samples)

    def refuse_padding(self) -> None:
        """Check that all images fill the batch: what copies features does not tell padding from image.

        Raises:
            ValueError: if one does not.
        """
        padded = {tuple(size) for size in self.valid_sizes if tuple(size) != self.size}
        if padded:
            height, width = min(padded)
            raise ValueError(
                f'an image of {height} x {width} pixels is padded to {self.size[0]} x {self.size[1]}, and '
                'features of padding would be copied: crop or resize all images to one size in train_pipeline'
            )


def valid_sizes_of(inputs: Tensor, data_samples: Sequence | None) -> list[tuple[int, int]]:
    """Height and width in pixels of each image's area in its padded batch, at the top left.

    Without samples the images fill their batch.
    """
    full = (inputs.shape[-2], inputs.shape[-1])
    if data_samples is None:
        return [full] * len(inputs)
    shapes = [sample.metainfo.get('img_shape', full)[:2] for sample in data_samples]
    return [(min(h, full[0]), min(w, full[1])) for h, w in shapes]


def labelled_rows(data_samples: Sequence) -> list[int] | None:
    """The rows of a batch that have a label, or None where all have one."""
    rows = [row for row, sample in enumerate(data_samples) if not is_unlabelled(sample)]
    return None if len(rows) == len(data_samples) else rows


def recorded_mixture(data_samples: Sequence) -> BatchMixture | None:
    """How the images of a batch were mixed, or None where they were not, or nothing recorded it."""
    mixture: BatchMixture | None = data_samples[0].metainfo.get('mixture')
    return mixture


def set_multi_hot_(labels: Tensor, concepts: Sequence[Tensor]) -> Tensor:
    """Set the entries of labels (B, C) that each image's concepts (n,) name to 1, in place."""
    rows = torch.tensor([row for row, its in enumerate(concepts) for _ in range(len(its))], dtype=torch.long)
    labels[rows.to(labels.device, non_blocking=True), torch.cat(list(concepts))] = 1
    return labels


def _stored_maps(data_samples: Sequence) -> list[StoredMaps] | None:
    """What `lfi.LoadInteractionMaps` has read of each image, or None where one has none."""
    if not all('interaction_maps' in sample for sample in data_samples):
        return None
    return [sample.interaction_maps for sample in data_samples]


def _recorded_views(data_samples: Sequence) -> Tensor | None:
    """(B, 2, 3) of `lfi.RecordView`, or None where a pipeline of the batch has none."""
    if not all('view' in sample for sample in data_samples):
        return None
    return torch.stack([sample.view for sample in data_samples])


def _recorded_tiles(data_samples: Sequence, stored: Sequence[Any] | None) -> list[Tiles] | None:
    """What each image shows of several files (Mosaic), or None where all show one, or no maps were read."""
    stored = stored or []
    if all(one.tiles is None for one in stored) or not all('view' in sample for sample in data_samples):
        return None
    return [one.tiles or Tiles.whole(sample.view) for one, sample in zip(stored, data_samples)]
