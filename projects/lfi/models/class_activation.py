"""Where a classifier without a read-out finds its classes: class activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def class_activation(model: Any, images: Tensor, classes: Sequence[int]) -> Tensor:
    """Class activation maps of an mmpretrain classifier whose ViT averages its patch tokens.

    A location's value is its token times the gradient of the class's score by the mean token: CAM (Zhou et
    al., CVPR 2016) in the form of Grad-CAM (Selvaraju et al., ICCV 2017), without its ReLU, so that locations
    that speak against the class are told apart too.

    Args:
        model: in eval mode.
        images: (B, 3, H, W), as the backbone gets them.
        classes: the n classes, indices of the head.

    Returns:
        (B, n, h, w), over the patches; of any sign and scale.

    Raises:
        TypeError: if the model pools otherwise.
    """
    backbone, head = model.backbone, model.head
    if (
        getattr(backbone, 'out_type', None) != 'avg_featmap'
        or getattr(backbone, 'fuse', 'none') != 'none'
        or getattr(model, 'neck', None) is not None
    ):
        raise TypeError(
            f'class activation needs a classifier whose ViT averages its patch tokens '
            f"(backbone.out_type='avg_featmap'), without a neck and with fuse='none'; this "
            f'{type(model).__name__} with a {type(backbone).__name__} pools otherwise'
        )
    backbone.out_type = 'featmap'
    try:
        with torch.no_grad():
            tokens = backbone(images)[-1]  # [B, C, h, w]
    finally:
        backbone.out_type = 'avg_featmap'
    with torch.enable_grad():
        mean = tokens.mean((2, 3)).requires_grad_()
        scores = head((backbone.ln2(mean),))
        weights = [
            torch.autograd.grad(scores[:, index].sum(), mean, retain_graph=True)[0] for index in classes
        ]
    return torch.einsum('nbc,bchw->bnhw', torch.stack(weights), tokens)
