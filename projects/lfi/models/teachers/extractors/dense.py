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
        trunk = getattr(visual, 'trunk', None)
        # A trunk that gives tokens, and no feature map, has no `global_pool` module of this kind.
        pool = getattr(getattr(trunk, 'global_pool', None), 'pool_type', None)
        linear = isinstance(visual, TimmModel) and dict(visual.head.named_children()).keys() <= {
            'drop',
            'proj',
        }
        # A trunk such as MobileNetV3 has layers of its own after the pooling.
        direct = getattr(trunk, 'num_features', None) == getattr(trunk, 'head_hidden_size', None)
        if pool != 'avg' or not linear or not direct:
            raise ValueError(
                "extractor 'dense' reads open_clip models with a timm CNN trunk, average pooling and a "
                f"linear head, not this model's {type(visual).__name__} with trunk {type(trunk).__name__}; "
                "for open_clip's own ViT use 'maskclip' or 'clearclip'"
            )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        features = self.visual.trunk.forward_features(images)  # [B, C, h, w]
        # One of the two projects, the other is the identity.
        locations = self.visual.head(self.visual.trunk.get_classifier()(features.flatten(2).mT))
        pooled = locations.mean(1)  # of [B, h*w, E]
        locations = locations / pooled.norm(dim=-1)[:, None, None].clamp_min(1e-6)
        return locations.mT.unflatten(-1, features.shape[-2:])[:, None], pooled
