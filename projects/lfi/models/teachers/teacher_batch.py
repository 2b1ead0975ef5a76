"""What a teacher is shown of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lfi.structures import BatchMixture, Pieces
from lfi.structures.interaction_cache import StoredMaps


@dataclass(frozen=True)
class PixelFormat:
    """How a batch's pixels were made from RGB values in [0, 255]: (value - mean) / std.

    Args:
        mean: three numbers, in the batch's channel order.
        std: three numbers, likewise.
        rgb: whether the batch's channels are RGB; else BGR.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool

    @classmethod
    def raw(cls, rgb: bool = False) -> PixelFormat:
        """Of values in [0, 255], which images have when they are loaded: as BGR."""
        return cls((0.0,) * 3, (1.0,) * 3, rgb)


@dataclass(frozen=True)
class TeacherBatch:
    """A batch as a teacher needs it: asked online it reads the images, cached it reads what is stored.

    Args:
        inputs: (B, 3, H, W), as the student gets them.
        pixels: how their pixels were made.
        valid_sizes: height and width in pixels of each image's area at the top left that is not padding.
        labels: (B, C) in [0, 1], the labels of what the view shows, among the concepts; None where no
            concept is asked about.
        stored: what a cache holds of each image, or None where the pipeline has read none.
        views: (B, 2, 3), what each image shows of its file, as `InteractionMaps.warp` takes it, or None where
            the pipeline has recorded none.
        pieces: where each shows several files, or None where all show one.
        mixture: how the images were mixed after that, or None where they were not.
    """

    inputs: Tensor
    pixels: PixelFormat
    valid_sizes: Sequence[tuple[int, int]]
    labels: Tensor | None = None
    stored: Sequence[StoredMaps] | None = None
    views: Tensor | None = None
    pieces: Sequence[Pieces] | None = None
    mixture: BatchMixture | None = None
