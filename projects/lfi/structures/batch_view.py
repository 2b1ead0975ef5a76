"""The images of a training batch, and the records that a pipeline has made of them."""

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
"""Keys that a pipeline packs for a cached teacher: the view of the file, and the file's maps."""


@dataclass(frozen=True)
class PixelFormat:
    """Normalisation and channel order of a batch: (value - mean) / std, of values in [0, 255].

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
        """Format of loaded images: values in [0, 255], BGR by default."""
        return cls((0.0,) * 3, (1.0,) * 3, rgb)


@dataclass(frozen=True)
class BatchView:
    """The images of a batch and how augmentation made them, collected once a step.

    An online teacher reads the images. A cached teacher reads the stored records and warps them into the
    views.

    Args:
        inputs: (B, 3, H, W), the student's inputs.
        pixel_format: order of channels, mean and std of the inputs.
        valid_sizes: height and width in pixels of each image without its padding at the right and below.
        labelled: rows of the batch that have a label. Defaults to None: all.
        labels: (B, C) in [0, 1], concepts that each image is labelled with. Defaults to None: no part needs
            them.
        stored: cached maps of each image. Defaults to None: the pipeline has read none.
        views: (B, 2, 3), view of the file that each image shows, in the form of `InteractionMaps.warp`. They
            stay on the CPU, so that `is_axis_aligned` waits for no GPU. Defaults to None: no view is
            recorded.
        tiles: tiles of images that show several files (Mosaic). Defaults to None: each image shows one file.
        mixture: mixing of the images after tiling (Mixup, CutMix). Defaults to None: no image is mixed.
        data_samples: data samples of the batch. Defaults to ().
    """

    inputs: Tensor
    pixel_format: PixelFormat
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
        cls, inputs: Tensor, data_samples: Sequence, pixel_format: PixelFormat, labels: Tensor | None = None
    ) -> BatchView:
        """Build the object for a preprocessed batch from its data samples."""
        stored = _stored_maps(data_samples)
        return cls(
            inputs,
            pixel_format,
            get_valid_sizes(inputs, data_samples),
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
        """Build the object for loaded images: BGR in [0, 255], each at the top left of the batch."""
        return cls(inputs, PixelFormat.raw(), valid_sizes, labels=labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the batch."""
        return self.inputs.shape[-2], self.inputs.shape[-1]

    @property
    def names(self) -> str:
        """Paths of the images in batch order, for messages."""
        return ', '.join(str(getattr(sample, 'img_path', 'unknown')) for sample in self.data_samples)

    def refuse_padding(self) -> None:
        """Check that all images fill the batch, for losses that cannot mask padding.

        Raises:
            ValueError: if an image is padded.
        """
        padded = {tuple(size) for size in self.valid_sizes if tuple(size) != self.size}
        if padded:
            height, width = min(padded)
            raise ValueError(
                f'an image of {height} x {width} pixels is padded to {self.size[0]} x {self.size[1]}, and '
                'features of padding would be copied: crop or resize all images to one size in train_pipeline'
            )


def get_valid_sizes(inputs: Tensor, data_samples: Sequence | None) -> list[tuple[int, int]]:
    """Return height and width in pixels of each image without padding, or of the batch without samples."""
    full = (inputs.shape[-2], inputs.shape[-1])
    if data_samples is None:
        return [full] * len(inputs)
    shapes = [sample.metainfo.get('img_shape', full)[:2] for sample in data_samples]
    return [(min(h, full[0]), min(w, full[1])) for h, w in shapes]


def labelled_rows(data_samples: Sequence) -> list[int] | None:
    """Return the rows of a batch that have a label, or None if all have one."""
    rows = [row for row, sample in enumerate(data_samples) if not is_unlabelled(sample)]
    return None if len(rows) == len(data_samples) else rows


def recorded_mixture(data_samples: Sequence) -> BatchMixture | None:
    """Return the recorded mixing of a batch, or None if there is none."""
    mixture: BatchMixture | None = data_samples[0].metainfo.get('mixture')
    return mixture


def set_multi_hot_(labels: Tensor, concepts: Sequence[Tensor]) -> Tensor:
    """Set the entries of labels (B, C) at each image's concepts (n,) to 1, in place."""
    counts = map(len, concepts)
    rows = torch.tensor([row for row, n in enumerate(counts) for _ in range(n)], dtype=torch.long)
    labels[rows.to(labels.device, non_blocking=True), torch.cat(list(concepts))] = 1
    return labels


def _stored_maps(data_samples: Sequence) -> list[StoredMaps] | None:
    """Return each image's maps from `lfi.LoadInteractionMaps`, or None if an image has none."""
    if not all('interaction_maps' in sample for sample in data_samples):
        return None
    return [sample.interaction_maps for sample in data_samples]


def _recorded_views(data_samples: Sequence) -> Tensor | None:
    """Return the views (B, 2, 3) from `lfi.RecordView`, or None if an image has none."""
    if not all('view' in sample for sample in data_samples):
        return None
    return torch.stack([sample.view for sample in data_samples])


def _recorded_tiles(data_samples: Sequence, stored: Sequence[Any] | None) -> list[Tiles] | None:
    """Return each image's tiles, or None if no image shows several files or no maps were read."""
    stored = stored or []
    if all(maps.tiles is None for maps in stored) or not all('view' in sample for sample in data_samples):
        return None
    return [maps.tiles or Tiles.whole(sample.view) for maps, sample in zip(stored, data_samples)]
