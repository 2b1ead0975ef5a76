"""Dense features of a CNN trunk, times the texts."""

from __future__ import annotations

from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from .base import DenseExtractor


@EXTRACTORS.register_module(name='dense')
class DenseTrunkExtractor(DenseExtractor):
    """The trunk's last feature map, each location through the head: z(location) . t / ||mean z||.

    The head is open_clip's projection, or, where the model has none (`timm_proj: null`), the trunk's own
    classifier. For average pooling and a linear head the mean of a map over the locations is exactly the
    image's cosine with the text, as in class activation maps (Zhou et al., CVPR 2016). It costs one plain
    forward pass, whatever the number of concepts.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if the tower is no timm CNN with average pooling and a linear head.
    """

    visual: TimmModel

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        fault = _fault(visual)
        if fault is not None:
            raise ValueError(
                "extractor 'dense' reads open_clip models with a timm CNN trunk, whose `global_pool` "
                f"averages the feature map for one linear layer, not this model's {fault}; for open_clip's "
                "own ViT use 'maskclip' or 'clearclip'"
            )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        features = self.visual.trunk.forward_features(images)  # [B, C, h, w]
        # One of the two projects, the other is the identity.
        locations = self.visual.head(self.visual.trunk.get_classifier()(features.flatten(2).mT))
        pooled = locations.mean(1)  # of [B, h*w, E]
        locations = locations / pooled.norm(dim=-1)[:, None, None].clamp_min(1e-6)
        return locations.mT.unflatten(-1, features.shape[-2:])[:, None], pooled


def _fault(visual: nn.Module) -> str | None:
    """What a tower has in place of average pooling and a linear head; None if it has both."""
    trunk = getattr(visual, 'trunk', None)
    if not isinstance(visual, TimmModel) or trunk is None:
        return f'{type(visual).__name__}, which has no timm trunk'
    name = f'{type(visual).__name__} with trunk {type(trunk).__name__}'
    pool = getattr(getattr(trunk, 'global_pool', None), 'pool_type', None)
    if pool is None and getattr(getattr(trunk, 'head', None), 'global_pool', None) is not None:
        # FastViT's and ConvNeXt's.
        return f'{name}, which pools inside a head of its own, {type(trunk.head).__name__}'
    if pool is None:
        # A trunk that gives tokens has no feature map to pool.
        return f'{name}, which has no `global_pool` layer'
    if pool != 'avg':
        return f'{name}, whose `global_pool` is {pool!r}'
    layers = list(dict(visual.head.named_children()))
    if not set(layers) <= {'drop', 'proj'}:
        return f'{name}, whose head has the layers {layers}'
    if getattr(trunk, 'num_features', None) != getattr(trunk, 'head_hidden_size', None):
        # MobileNetV3's.
        return f'{name}, which has layers of its own after the pooling'
    return None
