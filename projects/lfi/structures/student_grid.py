"""The grid of a student's locations, and the canvas that it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StudentGrid:
    """The grid of a student's locations over a batch.

    Args:
        shape: (H, W), numbers of locations.
        canvas: height and width in pixels of the covered area. It may be larger than the image, since a ViT
            pads images at the right and below to whole patches.
    """

    shape: tuple[int, int]
    canvas: tuple[int, int]

    @classmethod
    def of(cls, backbone: Any, size: tuple[int, int]) -> StudentGrid:
        """Return the grid of a backbone over images of a size.

        Args:
            backbone: backbone with `patch_grid(height, width)`, and with `patch_stride` unless its grid
                covers images exactly.
            size: height and width of the images in pixels.

        Raises:
            ValueError: if the patches do not cover the images, as with `patch_cfg=dict(padding=0)`.
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
        """Check that images of a size fill the canvas, for losses that copy features by location.

        Raises:
            ValueError: if the backbone pads the images to whole patches.
        """
        if self.canvas != tuple(size):
            height, width = (self.canvas[axis] // self.shape[axis] for axis in (0, 1))
            raise ValueError(
                f'images of {size[0]} x {size[1]} pixels end within a location of {height} x {width} pixels '
                'of the student, and features would be copied to wrong places: crop or resize images in '
                'train_pipeline to a multiple'
            )
