"""The grid of a student's locations, and what it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StudentGrid:
    """The grid of a student's locations over a batch.

    Args:
        shape: (H, W), the locations.
        canvas: height and width in pixels of what they cover. A ViT's patches pad an image at its right and
            below, so that the canvas may be larger than the image.
    """

    shape: tuple[int, int]
    canvas: tuple[int, int]

    @classmethod
    def of(cls, backbone: Any, size: tuple[int, int]) -> StudentGrid:
        """The grid of a backbone over images of a size.

        Args:
            backbone: with `patch_grid(height, width)`, and `patch_stride` unless its grid covers each image
                exactly.
            size: height and width of the images in pixels.

        Raises:
            ValueError: if images reach beyond what the patches cover, as with `patch_cfg=dict(padding=0)`.
        """
        shape = backbone.patch_grid(*size)
        stride: tuple[int, int] | None = getattr(backbone, 'patch_stride', None)
        if stride is None:
            return cls(shape, size)
        canvas = shape[0] * stride[0], shape[1] * stride[1]
        if canvas[0] < size[0] or canvas[1] < size[1]:
            raise ValueError(
                f"images of {size[0]} x {size[1]} pixels reach beyond the student's patches, which cover "
                f'{canvas[0]} x {canvas[1]}: resize or crop them to a multiple of {stride[0]} x {stride[1]}, '
                'or leave padding=0 out of backbone.patch_cfg'
            )
        return cls(shape, canvas)

    def refuse_overhang(self, size: tuple[int, int]) -> None:
        """Check that images of a size end where the locations do, for what copies features by location.

        Raises:
            ValueError: if they do not: the backbone pads them to whole patches.
        """
        if self.canvas != tuple(size):
            height, width = (self.canvas[axis] // self.shape[axis] for axis in (0, 1))
            raise ValueError(
                f'images of {size[0]} x {size[1]} pixels end within a location of {height} x {width} pixels '
                'of the student, and features would be copied beside their place: crop or resize them in '
                'train_pipeline to a multiple'
            )
