"""Image towers: one interface for extractors, and its implementations, which import no extractor."""

from __future__ import annotations

from torch import nn

from .base import Block, ImageTower, Pool, TransformerTower, merge_heads, patch_grid
from .cnn import AttentionPooledResNet, TimmCNN
from .open_clip_vit import OpenClipViT, TokenEmbedding
from .timm_vit import POOLS, TimmViT

KINDS = (OpenClipViT, TimmViT, TimmCNN, AttentionPooledResNet)

__all__ = [
    'KINDS',
    'POOLS',
    'Block',
    'ImageTower',
    'OpenClipViT',
    'Pool',
    'TokenEmbedding',
    'TransformerTower',
    'merge_heads',
    'patch_grid',
    'tower_of',
]


def tower_of(visual: nn.Module) -> ImageTower:
    """Wrap an image tower in the class of `KINDS` that reads it.

    Args:
        visual: image tower, in eval mode.

    Raises:
        ValueError: if no class reads the tower.
    """
    for kind in KINDS:
        if kind.supports(visual):
            return kind(visual)
    trunk = getattr(visual, 'trunk', None)
    name = type(visual).__name__ if trunk is None else f'{type(visual).__name__} of a {type(trunk).__name__}'
    raise ValueError(
        f"no extractor reads this model's image tower, a {name}. Extractors read open_clip's own ViTs "
        "and ResNets, timm's ViTs with a class token, average or latent attention pooling, and timm's CNNs "
        "with average pooling. For CoCa models use 'coca', for a dual encoder of your own 'own-locations'"
    )
