"""Layer-wise learning-rate decay for models with a ViT backbone."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from lfi.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's `LearningRateDecayOptimWrapperConstructor` for detectors and segmentors, too.

    A parameter in layer l of the backbone gets lr * layer_decay_rate ** (L + 1 - l). The embeddings and the
    learned queries are layer 0, the blocks 1 to L; parameters outside the backbone get lr (Li et al.,
    "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, appendix A.3).
    `paramwise_cfg` takes what mmpretrain's constructor takes: `layer_decay_rate`, `norm_decay_mult`,
    `bias_decay_mult`, `flat_decay_mult` and `custom_keys`.

    Raises:
        TypeError: If neither the model nor its backbone has a `get_layer_depth`.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any) -> None:
        """Add parameter groups as mmpretrain does, by the layer depths of the backbone."""
        if prefix == '' and not hasattr(module, 'get_layer_depth'):
            backbone = getattr(module, 'backbone', None)
            if backbone is None or not hasattr(backbone, 'get_layer_depth'):
                raise TypeError(
                    f'{type(self).__name__} needs a backbone with get_layer_depth(), such as '
                    f'lfi.InteractionQueryViT; {type(module).__name__} has {type(backbone).__name__}'
                )
            kwargs['get_layer_depth'] = partial(backbone.get_layer_depth, prefix='backbone.')
        super().add_params(params, module, prefix, **kwargs)
