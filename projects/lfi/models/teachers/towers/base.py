"""What extractors need of an image tower, whatever it is built of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

Pool = Literal['class token', 'mean', 'attention']


class ImageTower(ABC):
    """An image tower, as the way from images to locations, and from a location to the joint space.

    Args:
        visual: the tower, a module in eval mode. It is read, and not kept up to date in any other way: moving
            it to a device moves what is read.

    Attributes:
        pool: what brings the locations together: a class token that reads them in the blocks, their mean, or
            an attention of its own after the last layer.
        averages: whether the embedding is exactly the mean of the projected locations, as with average
            pooling and a linear head.
    """

    pool: Pool
    averages: bool = False

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @abstractmethod
    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            The last layer's N locations (B, N, width), their grid (h, w), row by row, and the images'
            embeddings (B, E) of any length.

        Raises:
            ValueError: if the tower cannot take images of this size.
        """

    def whole_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size in pixels to give images that were to have `size`, so that locations cover all of them."""
        return size

    @abstractmethod
    def project(self, locations: Tensor) -> Tensor:
        """Bring locations (..., width) of the last layer to the joint space, (..., E) of any length.

        A location is embedded as an image that is this location alone: pooling a single location changes
        nothing but to pass it through the pool's own layers.
        """

    @abstractmethod
    def alone(self, locations: Tensor) -> Tensor:
        """The same of locations (n, width) as (n, E), by the tower's own pool and head; for checks.

        Each is repeated where the pool wants several, or stands in the class token's place.
        """


def refuse_part_of_stride(images: Tensor, stride: int) -> None:
    """Check that the locations of a CNN cover its images exactly: it drops the rest, or goes beyond it.

    Args:
        images: (B, 3, H, W).
        stride: pixels from one location to the next.

    Raises:
        ValueError: if a side is not a multiple of the stride.
    """
    height, width = images.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"input_size={(height, width)} is not a multiple of {stride}, the stride of the teacher's image "
            'tower: its maps would lie beside their places. Set teacher.input_size='
            f'{(_multiple(height, stride), _multiple(width, stride))}'
        )


def _multiple(side: int, stride: int) -> int:
    return -(-side // stride) * stride


class Block(ABC):
    """A block of a transformer, taken apart.

    For tokens x the block is `y = x + output(attention(*qkv(normed(x), grid)))`, then `feed_forward(y)`.
    """

    @abstractmethod
    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the block as it is to the tokens (B, n, width) of a grid."""

    @abstractmethod
    def normed(self, x: Tensor) -> Tensor:
        """What the attention reads of the tokens (B, n, width), shaped alike."""

    @abstractmethod
    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, n, head width), with their positions; scaled by no factor."""

    @abstractmethod
    def output(self, attended: Tensor) -> Tensor:
        """What the attention adds to the tokens: (B, heads, n, head width) to (B, n, width)."""

    @abstractmethod
    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network to tokens (B, n, width), with its residual."""


class TransformerTower(ImageTower):
    """An image tower whose last layers are the blocks of a transformer.

    Attributes:
        blocks: all of them.
        n_prefix: how many tokens, a class token and registers, stand before the patches'.
    """

    blocks: Sequence[Block]
    n_prefix: int
    _READS: ClassVar[dict[Pool, slice]] = {
        'class token': slice(0, 1),
        'mean': slice(None),
        'attention': slice(None),
    }

    @abstractmethod
    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            The tokens that enter the first block (B, n_prefix + N, width), and the grid (h, w) of the N
            patches. For another grid than the tower's own the positions are interpolated.

        Raises:
            ValueError: if the tower cannot take images of this size.
        """

    @abstractmethod
    def embedding(self, tokens: Tensor) -> Tensor:
        """The images' embeddings (B, E) of any length, from the tokens after the last block."""

    @property
    def pooled_tokens(self) -> slice:
        """Which of the tokens after the last block `embedding` reads."""
        return self._READS[self.pool]

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower; arguments and result as of `ImageTower`."""
        x, grid = self.embed(images)
        for block in self.blocks:
            x = block(x, grid)
        return x[:, self.n_prefix :], grid, self.embedding(x)


def patch_grid(images: Tensor, patch_size: Sequence[int]) -> tuple[int, int]:
    """The grid (h, w) of an image tower's patches.

    Args:
        images: (B, 3, H, W).
        patch_size: height and width in pixels.

    Raises:
        ValueError: if patches do not fill the images.
    """
    size = tuple(images.shape[-2:])
    if any(side % step for side, step in zip(size, patch_size)):
        raise ValueError(
            f"input_size={size} must be a multiple of the teacher's patch size {tuple(patch_size)}"
        )
    return size[0] // patch_size[0], size[1] // patch_size[1]


def merge_heads(attended: Tensor) -> Tensor:
    """(B, heads, n, head width) as (B, n, heads * head width)."""
    return attended.transpose(1, 2).flatten(2)


class ResampledPositions:
    """Resamples position embeddings (bicubic), once for each grid.

    Args:
        n_prefix: how many rows stand before those of the grid, as a class token's. Defaults to 1.
    """

    def __init__(self, n_prefix: int = 1) -> None:
        self.n_prefix = n_prefix
        self._of_grid: dict[tuple, Tensor] = {}

    def __call__(self, own: Tensor, own_grid: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """The embeddings (1, n_prefix + H * W, C) of a grid (H, W).

        Args:
            own: (1, n_prefix + h * w, C).
            own_grid: (h, w).
            grid: (H, W).
        """
        if grid == own_grid:
            return own
        key = (grid, own.device)
        if key not in self._of_grid:
            self._of_grid[key] = resample_abs_pos_embed(
                own, list(grid), list(own_grid), num_prefix_tokens=self.n_prefix
            )
        return self._of_grid[key]
