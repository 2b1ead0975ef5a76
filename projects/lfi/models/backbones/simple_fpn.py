"""Feature pyramid from the last feature map of a plain ViT."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils.norm import LayerNorm2d
from torch import Tensor, nn

from lfi.registry import MODELS


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Pyramid of strides 4, 8, 16 and 32 from one map of stride 16, with coarser levels by pooling.

    (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3.)

    Args:
        in_channels: C, number of channels of the backbone's map.
        out_channels: number of channels of each level. Defaults to 256.
        num_outs: number of levels, at least 4. Defaults to 5.

    Raises:
        ValueError: if `num_outs` is below 4.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 256, num_outs: int = 5, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        if num_outs < 4:
            raise ValueError(f'num_outs={num_outs} must be at least 4')
        self.num_outs = num_outs
        half, quarter = in_channels // 2, in_channels // 4
        self.scale_convs = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(in_channels, half, 2, 2),
                    LayerNorm2d(half, eps=1e-6),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, quarter, 2, 2),
                ),
                nn.ConvTranspose2d(in_channels, half, 2, 2),
                nn.Identity(),
                nn.MaxPool2d(2, 2),
            ]
        )
        widths = (quarter, half, in_channels, in_channels)
        self.fpn_convs = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(width, out_channels, 1, bias=False),
                    LayerNorm2d(out_channels, eps=1e-6),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    LayerNorm2d(out_channels, eps=1e-6),
                )
                for width in widths
            ]
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Build the pyramid.

        Args:
            inputs: maps (B, C, H, W) of the backbone. Only the last one is read.

        Returns:
            `num_outs` maps (B, out_channels, h, w), finest first. The finest has 4 times the input's side.
        """
        levels = [fpn(scale(inputs[-1])) for scale, fpn in zip(self.scale_convs, self.fpn_convs)]
        while len(levels) < self.num_outs:
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return tuple(levels)
