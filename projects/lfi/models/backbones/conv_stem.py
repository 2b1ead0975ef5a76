"""Convolutional stem of a ViT, in place of the patch projection."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from lfi.registry import MODELS


@MODELS.register_module()
class ConvStem(BaseModule):
    """Convolutional stem that embeds images as patch tokens.

    (Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021, section 4.) 3 x 3
    convolutions of stride 2, each with a batch norm and a ReLU, reduce a patch to a token; a 1 x 1
    convolution follows. The last 3 x 3 convolution has 3/4 of the tokens' channels, and each earlier one has
    half as many as the next: 24, 48, 96 for 128 dims and patches of 8. The shapes of tokens and grid equal
    those of mmpretrain's `PatchEmbed` for any image size. A token sees its own patch and patch_size - 1
    pixels above and to the left; padding at the right and below has no influence.

    Args:
        patch_size: side of a patch in pixels, a power of two above 1. Each factor of 2 is one convolution.
        embed_dims: number of channels of the tokens.
        in_channels: number of channels of the images. Defaults to 3.
        input_size: (H, W) or side in pixels of the images whose grid is `init_out_size`. Defaults to 224.
        init_cfg: initialisation config of mmengine's `BaseModule`. Defaults to None, as in `ConvModule`.

    Raises:
        ValueError: if `patch_size` is not a power of two above 1.
    """

    def __init__(
        self,
        patch_size: int | Sequence[int],
        embed_dims: int,
        in_channels: int = 3,
        input_size: int | Sequence[int] = 224,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        sides = _pair(patch_size)
        side = sides[0]
        if sides != (side, side) or side < 2 or side & (side - 1):
            raise ValueError(
                f'patch_size={patch_size!r} must be a power of two above 1 for lfi.ConvStem, whose '
                'convolutions halve the image: use 2, 4, 8, 16 or 32, or stem=None'
            )
        depth = side.bit_length() - 1
        self.stride = sides
        self.init_out_size = self.grid(*_pair(input_size))
        self.layers = nn.Sequential()
        for i in reversed(range(depth)):
            width = embed_dims * 3 // 4 // 2**i
            norm = dict(type='BN')
            self.layers.append(ConvModule(in_channels, width, 3, stride=2, padding=1, norm_cfg=norm))
            in_channels = width
        self.projection = nn.Conv2d(in_channels, embed_dims, 1)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the token grid of an image, rounded up to whole patches."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            x: (B, in_channels, height, width), images.

        Returns:
            Tokens (B, H * W, embed_dims), and the grid (H, W).
        """
        x = self.projection(self.layers(x))
        return x.flatten(2).mT, (x.shape[2], x.shape[3])


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
