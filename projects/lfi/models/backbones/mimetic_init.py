"""An initialisation by which a ViT looks at neighbouring patches from the start."""

from __future__ import annotations

import torch
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor

from lfi.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class MimeticInit:
    """Mimetic initialisation of self-attention (Trockman and Kolter, ICML 2023).

    In each block the product of the query's and the key's projection of a head is `qk` times a random matrix
    and the identity, that of the value's and the output's projection `vo` times a random matrix less the
    identity. With the sine-cosine position embedding that is set too, patches attend to themselves and to
    their neighbours. For ViTs that are trained from nothing on few images. Give it as the `init_cfg` of an
    `InteractionQueryViT`, with queries or without: mmpretrain's own `VisionTransformer` draws its position
    embedding anew afterwards.

    Args:
        qk: of queries and keys. Defaults to 0.7, the paper's.
        vo: of values and outputs. Defaults to 0.4, the paper's.
    """

    def __init__(self, qk: float = 0.7, vo: float = 0.4) -> None:
        self.qk = qk
        self.vo = vo

    @torch.no_grad()
    def __call__(self, module: VisionTransformer) -> None:
        """Set each block's attention and the position embedding, in place."""
        self.set_positions(module)
        for layer in module.layers:
            attention = layer.attn
            query, key, value = attention.qkv.weight.chunk(3)  # [C, C] each
            for q, k in zip(query.chunk(attention.num_heads), key.chunk(attention.num_heads)):
                left, right = self._factors(module.embed_dims, self.qk, 1.0)
                q.copy_(left[:, : len(q)].mT)
                k.copy_(right[: len(k)])
            left, right = self._factors(module.embed_dims, self.vo, -1.0)
            attention.proj.weight.copy_(left)
            value.copy_(right)

    @staticmethod
    @torch.no_grad()
    def set_positions(module: VisionTransformer) -> None:
        """Set the position embedding alone."""
        if module.pos_embed is not None:
            module.pos_embed.copy_(
                build_2d_sincos_position_embedding(
                    module.patch_resolution, module.embed_dims, cls_token=module.with_cls_token
                )
            )

    @staticmethod
    def _factors(dims: int, scale: float, sign: float) -> tuple[Tensor, Tensor]:
        """Two (C, C) of product `scale * (Z + sign * I)`; A's first columns and B's first rows weigh most."""
        target = scale * (torch.randn(dims, dims) / dims**0.5 + sign * torch.eye(dims))
        u, s, vt = torch.linalg.svd(target)
        return u * s.sqrt(), s.sqrt()[:, None] * vt
