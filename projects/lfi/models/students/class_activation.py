"""Where a head's evidence for each class lies: the maps of a student that was asked nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lfi.models.backbones import InteractionQueryViT, InteractionStates
from lfi.registry import MODELS
from lfi.structures import InteractionMaps

from .predict_by import PredictBy


def class_activation_maps(
    backbone: InteractionQueryViT, head: nn.Module, states: InteractionStates
) -> Tensor:
    """The share of each location in each class's score.

    (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.) Features are the mean
    of the patches, and the norm after it divides an image's patches alike. So the maps' mean over locations
    is the head's score, but for one number a class, the same for all images.

    Args:
        backbone: with `out_type='avg_featmap'`.
        head: with one linear layer.
        states: of the pass.

    Returns:
        (B, K, H, W), float32.

    Raises:
        ValueError: if features are pooled in another way, the last block is not supervised, or the head has
            more than one layer.
    """
    layers = _linear_layers(head)
    # One in an adapter need not have it, nor a number of blocks.
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
    """Predicts by a classifier's head, and answers by where the head's evidence for a class lies.

    The interaction maps are the `class_activation_maps` of the head, so that a baseline that was asked
    nothing stands beside LFI in the configs of `configs/evaluation`. Presence is the head's. Concepts beyond
    the classes have flat maps. The scale of the maps is arbitrary: what depends on it, `energy`,
    `teacher_nss` and `teacher_kl`, does not compare. It is for testing only.
    """

    answers_by_readout = False

    def check(self, student: Any) -> None:
        """Check that the task's model has a head that scores classes of images."""
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
        like: InteractionMaps,
    ) -> InteractionMaps:
        """The class activation maps of texts, (M, E).

        Raises:
            ValueError: for a text that is none of the teacher's concepts; and as `class_activation_maps`
                says.
        """
        maps = class_activation_maps(student.backbone, student.head, states)
        scores = maps.mean((-2, -1)) + _linear_layers(student.head)[0](student.backbone.ln2.bias)
        concepts = _concepts_of(texts, student.teacher.texts)
        known = concepts < maps.shape[1]
        index = concepts.clamp_max(maps.shape[1] - 1)
        return InteractionMaps(
            logits=maps[:, index].where(known[:, None, None], 0.0)[:, None],
            presence=scores.softmax(-1)[:, index].where(known, 0.0),
            valid=like.valid,
            layers=states.layers[-1:],
            directions=('spatial',),
        )


def _concepts_of(texts: Tensor, known: Tensor) -> Tensor:
    """Which of the teacher's concepts each text is, (M,)."""
    alike, concepts = (texts @ known.to(texts.device).T).max(1)
    if (alike < 0.999).any():
        raise ValueError(
            "predict_by=ByClassActivation knows its head's classes alone: ask for concepts of its teacher"
        )
    return concepts
