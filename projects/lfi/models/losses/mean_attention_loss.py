"""Negative control of attention transfer: one target for all images."""

from __future__ import annotations

from torch import Tensor

from lfi.registry import MODELS

from .attention_transfer_loss import AttentionTransferLoss
from .means import RunningMean


@MODELS.register_module()
class MeanAttentionLoss(AttentionTransferLoss):
    """`AttentionTransferLoss` towards the mean of the teacher's attention over all views so far.

    What helps here is not image-specific. All images must have one size. Arguments as
    `AttentionTransferLoss`.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.attention = RunningMean()

    def _target(self, theirs: Tensor) -> Tensor:
        if self.training:
            probabilities = theirs.exp()
            self.attention.add(probabilities.sum(0), probabilities.new_full((), len(theirs)))
        return self.attention.mean.log()
