"""Interfaces of image towers and of their blocks, for extractors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

Pool = Literal['class token', 'mean', 'attention']


class ImageTower(ABC):
    """Base class of image towers, which map images to locations, and locations to the joint space.

    Args:
        visual: module of the tower, in eval mode. No weights are copied: moving the module to a device moves
            the tower.

    Attributes:
        pool: kind of the pool over locations: a class token that reads them in the blocks, their mean, or an
            attention after the last layer.
        averages: whether the embedding is exactly the mean of the projected locations, as for average pooling
            with a linear head.
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
            Locations of the last layer (B, N, width), their grid (h, w), row by row, and embeddings of the
            images (B, E), of any length.

        Raises:
            ValueError: if the tower does not accept images of this size.
        """

    def whole_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Adjust an input size in pixels, so that locations cover the complete image."""
        return size

    @abstractmethod
    def project(self, locations: Tensor) -> Tensor:
        """Project locations (..., width) of the last layer to the joint space, (..., E) of any length.

        A location is embedded like an image without other locations: it passes the layers of pool and head.
        """

    @abstractmethod
    def pool_each(self, locations: Tensor) -> Tensor:
        """Embed each of n locations (n, width) as (n, E) by the tower's own pool and head, for checks.

        A pool that averages gets copies of the location. A pool that reads a class token gets the location
        instead.
        """


def check_stride(images: Tensor, stride: int) -> None:
    """Check that the locations of a CNN cover its images exactly.

    Args:
        images: (B, 3, H, W), input of the CNN.
        stride: distance of neighbouring locations in pixels.

    Raises:
        ValueError: if a side is not a multiple of the stride.
    """
    height, width = images.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"input_size={(height, width)} is not a multiple of {stride}, the stride of the teacher's image "
            'tower: its maps would be shifted against the image. Set teacher.input_size='
            f'{(_multiple(height, stride), _multiple(width, stride))}'
        )


def _multiple(side: int, stride: int) -> int:
    return -(-side // stride) * stride


class Block(ABC):
    """Base class of the blocks of a transformer, split into their parts.

    For tokens x the block is `y = x + output(attention(*qkv(normed(x), grid)))`, then `feed_forward(y)`.
    """

    @abstractmethod
    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the unchanged block to the tokens (B, n, width) of a grid."""

    @abstractmethod
    def normed(self, x: Tensor) -> Tensor:
        """Return the attention's input (B, n, width) for tokens (B, n, width)."""

    @abstractmethod
    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (B, heads, n, head width), with rotary positions, unscaled."""

    @abstractmethod
    def output(self, attended: Tensor) -> Tensor:
        """Project the attention's result (B, heads, n, head width) to the residual branch (B, n, width)."""

    @abstractmethod
    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network to tokens (B, n, width), with the residual connection."""


class TransformerTower(ImageTower):
    """Base class of image towers whose last layers are the blocks of a transformer.

    Attributes:
        blocks: blocks of the transformer, first to last.
        n_prefix: number of tokens before the patches: class token and registers.
    """

    blocks: Sequence[Block]
    n_prefix: int
    _POOLED_TOKENS: ClassVar[dict[Pool, slice]] = {
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
            Input tokens of the first block (B, n_prefix + N, width), and the grid (h, w) of the N patches.
            Positions are interpolated if the grid is not the tower's own.

        Raises:
            ValueError: if the tower does not accept images of this size.
        """

    @abstractmethod
    def embedding(self, tokens: Tensor) -> Tensor:
        """Compute embeddings of images (B, E), of any length, from the tokens after the last block."""

    @property
    def pooled_tokens(self) -> slice:
        """Slice of the tokens after the last block that `embedding` reads."""
        return self._POOLED_TOKENS[self.pool]

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower. See `ImageTower.locations`."""
        x, grid = self.embed(images)
        for block in self.blocks:
            x = block(x, grid)
        return x[:, self.n_prefix :], grid, self.embedding(x)


def patch_grid(images: Tensor, patch_size: Sequence[int]) -> tuple[int, int]:
    """Grid (h, w) of an image tower's patches.

    Args:
        images: (B, 3, H, W), input of the tower.
        patch_size: height and width of a patch in pixels.

    Raises:
        ValueError: if the image size is not a multiple of the patch size.
    """
    size = tuple(images.shape[-2:])
    if any(side % step for side, step in zip(size, patch_size)):
        raise ValueError(
            f"input_size={size} must be a multiple of the teacher's patch size {tuple(patch_size)}"
        )
    return size[0] // patch_size[0], size[1] // patch_size[1]


def merge_heads(attended: Tensor) -> Tensor:
    """Reshape (B, heads, n, head width) to (B, n, heads * head width)."""
    return attended.transpose(1, 2).flatten(2)


class ResampledPositions:
    """Bicubic resampling of position embeddings, cached by grid and device.

    Args:
        n_prefix: number of tokens before those of the grid, such as a class token. Defaults to 1.
    """

    def __init__(self, n_prefix: int = 1) -> None:
        self.n_prefix = n_prefix
        self._cache: dict[tuple, Tensor] = {}

    def __call__(self, positions: Tensor, source: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """Resample position embeddings to (1, n_prefix + H * W, C).

        Args:
            positions: (1, n_prefix + h * w, C), position embeddings of the tower.
            source: (h, w), grid of the tower.
            grid: (H, W), target grid.
        """
        if grid == source:
            return positions
        key = (grid, positions.device)
        if key not in self._cache:
            self._cache[key] = resample_abs_pos_embed(
                positions, list(grid), list(source), num_prefix_tokens=self.n_prefix
            )
        return self._cache[key]
