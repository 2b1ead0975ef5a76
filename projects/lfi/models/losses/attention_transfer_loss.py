"""Control: copy which places of an image attend to which, whatever they speak of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import ImageFeatures

from .divergences import kl


@MODELS.register_module()
class AttentionTransferLoss(nn.Module):
    """KL divergence from the teacher's to the student's patch-to-patch attention.

    Place i attends to place j by softmax_j(cos(f_i, f_j) / temperature), f the last feature map (the pixel
    relations within an image of CIRKD, Yang et al., CVPR 2022, section 3.2). No text takes part, and a CNN
    serves as a teacher too.

    Args:
        temperature: Defaults to 0.1.
        loss_weight: Defaults to 1.
    """

    def __init__(self, temperature: float = 0.1, loss_weight: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} must be above 0')
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_attention`, the weighted mean over places and images, on the student's grid."""
        grid = student.places.shape[-2:]
        theirs = F.interpolate(teacher.places.float(), grid, mode='bilinear', antialias=True)
        ours, theirs = self._attention(student.places.float()), self._attention(theirs)
        return {'loss_attention': self.loss_weight * kl(ours, theirs, dim=-1).mean()}

    def _attention(self, places: Tensor) -> Tensor:
        """Log-probabilities (B, N, N)."""
        unit = F.normalize(places.flatten(2), dim=1)
        # Autocast would take the product in half precision, whose cosines are too coarse for the temperature.
        with torch.autocast(unit.device.type, enabled=False):
            return (unit.mT @ unit / self.temperature).log_softmax(-1)
