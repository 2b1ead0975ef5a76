"""Class activation maps of classifiers that were trained without queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lfi.models.backbones import InteractionQueryViT, InteractionStates
from lfi.registry import MODELS
from lfi.structures import InteractionMaps
from lfi.utils.modules import is_multi_label

from .predict_by import PredictBy


def class_activation_maps(
    backbone: InteractionQueryViT, head: nn.Module, states: InteractionStates
) -> Tensor:
    """Compute class activation maps: the contribution of each location to each class score.

    (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.) The pooled vector is
    the mean of the patches, and the norm after pooling scales all patches of an image equally. So the mean of
    a map over locations equals the head's score, up to a constant per class.

    Args:
        backbone: backbone with `out_type='avg_featmap'`.
        head: head with one linear layer.
        states: recorded states of a forward pass.

    Returns:
        Maps (B, K, H, W), float32.

    Raises:
        ValueError: if the backbone pools in another way, its last block is not supervised, or the head has
            more than one linear layer.
    """
    layers = _linear_layers(head)
    # A backbone in an adapter need not have the attribute.
    out_type = getattr(backbone, 'out_type', None)
    if out_type != 'avg_featmap' or states.layers[-1] != backbone.num_layers - 1 or len(layers) != 1:
        raise ValueError(
            f"class activation maps need a backbone with out_type='avg_featmap', got {out_type!r}; the last "
            f'block among interaction_layers, got {states.layers}; and a head of one linear layer, got '
            f'{len(layers)}'
        )
    n = states.grid[0] * states.grid[1]
    with torch.autocast(states.tokens[-1].device.type, enabled=False):
        patches = states.tokens[-1][:, -n:].float()
        patches = backbone.ln1(patches) if backbone.final_norm else patches  # [B, N, C]
        norm = backbone.ln2
        spread = (patches.mean(1).var(-1, correction=0) + norm.eps).sqrt()  # [B]
        centred = (patches - patches.mean(-1, keepdim=True)) / spread[:, None, None]
        maps = centred @ (layers[0].weight * norm.weight).T  # [B, N, K]
    return maps.mT.unflatten(-1, states.grid)


def _linear_layers(head: nn.Module) -> list[nn.Linear]:
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear)]


@MODELS.register_module()
class ByClassActivation(PredictBy):
    """Predict by a classifier's head, and answer texts by class activation maps. For testing only.

    The configs in `configs/evaluation` use it to measure a baseline that was trained without queries.
    Presence is the head's probability: the softmax over the classes, or for a multi-label head the sigmoid of
    each class's score. Concepts beyond the classes have flat maps. The scale of the maps is arbitrary, so
    that `energy`, `teacher_nss` and `teacher_kl` are not comparable: they depend on the scale.
    """

    answers_by_readout = False

    def check(self, student: Any) -> None:
        """Check that the student is a classifier."""
        if 'scores' not in student.family.provides:
            raise ValueError(
                f'predict_by=ByClassActivation needs a classifier, and got {type(student).__name__}: set '
                'predict_by=None'
            )

    def check_training(self, student: Any) -> None:
        """Refuse training.

        Raises:
            ValueError: always.
        """
        raise ValueError('predict_by=ByClassActivation is for testing only: train with predict_by=None')

    def answers(
        self,
        student: Any,
        states: InteractionStates,
        texts: Tensor,
        layout: InteractionMaps,
    ) -> InteractionMaps:
        """Return class activation maps of texts (M, E).

        Raises:
            ValueError: if a text is none of the teacher's concepts, or the backbone or the head does not fit.
        """
        maps = class_activation_maps(student.backbone, student.head, states)
        scores = maps.mean((-2, -1)) + _linear_layers(student.head)[0](student.backbone.ln2.bias)
        probabilities = scores.sigmoid() if is_multi_label(student.head) else scores.softmax(-1)
        concepts = _concept_indices(texts, student.teacher.text_embeddings)
        is_class = concepts < maps.shape[1]
        index = concepts.clamp_max(maps.shape[1] - 1)
        return InteractionMaps(
            logits=maps[:, index].where(is_class[:, None, None], 0.0)[:, None],
            presence=probabilities[:, index].where(is_class, 0.0),
            valid=layout.valid,
            layers=states.layers[-1:],
            directions=('spatial',),
        )


def _concept_indices(texts: Tensor, text_embeddings: Tensor) -> Tensor:
    """Return the index of each text among the teacher's concepts, (M,)."""
    cosines, concepts = (texts @ text_embeddings.to(texts.device).T).max(1)
    if (cosines < 0.999).any():
        raise ValueError(
            'predict_by=ByClassActivation answers only texts that are concepts of the teacher: ask '
            'about concepts'
        )
    return concepts
