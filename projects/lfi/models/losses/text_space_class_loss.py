"""Classification in the text space."""

from __future__ import annotations

from torch import Tensor, nn

from lfi.registry import MODELS

from .shared_mean import shared_mean


@MODELS.register_module()
class TextSpaceClassLoss(nn.Module):
    """Cross-entropy of the open-vocabulary class scores against an image's labels.

    Args:
        loss_weight: Defaults to 0.5.
    """

    def __init__(self, loss_weight: float = 0.5) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            scores: (B, C) of `InteractionReadout.class_scores`.
            labels: (B, C) non-negative weights of the labels; an image with several shares itself out
                among them, and one with none adds exactly zero.

        Returns:
            The weighted mean over the images that have a label, a scalar.
        """
        total = labels.sum(1, keepdim=True)
        target = labels / total.clamp_min(1e-6)
        per_image = -(target * scores.float().log_softmax(1)).sum(1)
        return self.loss_weight * shared_mean(per_image, total[:, 0] > 0)
