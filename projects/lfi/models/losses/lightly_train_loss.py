"""Baseline: what LightlyTrain's third distillation method compares."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine import dist
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import MASKED, ImageFeatures
from lfi.utils.options import check_weights

from .log_probabilities import kl, log_affinity

TEMPERATURE = 0.07


@MODELS.register_module()
class LightlyTrainLoss(nn.Module):
    """Which locations of an image are alike, and which earlier images an image is like.

    The two terms of `distillationv3` in LightlyTrain 0.17, each a KL divergence between softmaxes of cosines
    at one temperature, in equal parts. The local term is over pairs of an image's locations. The queue term
    is over the cosines of an image's vector with the teacher's embeddings of the latest images, this batch's
    included. The student's tokens and its vector are mapped to the teacher's width by a linear layer each.

    Six things differ. A layer norm stands before our linear layer of tokens, which come before the
    backbone's last norm. LightlyTrain mixes its images (MixUp); here each arm sees the same images. Its queue
    begins with zeros that count, ours is empty. Its processes have a queue each; here they share one, so that
    the first process's checkpoint resumes them all. It compares locations on the teacher's grid, ours on the
    student's. Its linear layers begin at a truncated normal of 0.02, ours as PyTorch's do. All processes must
    have batches of one size.

    Args:
        student_dims: width of the student's tokens and of its vector.
        teacher_dims: width of the teacher's features.
        queue_size: embeddings in the queue. A quarter to a half of the training images, 8192 at
            most, is what LightlyTrain takes. Defaults to 1024.
        loss_weight: 0 or more. Defaults to 1.

    Raises:
        ValueError: if `loss_weight` is negative; or in a step of more images, those of all processes,
            than the queue holds.
    """

    queue: Tensor

    by_location = True
    """Whether it compares location by location."""

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        queue_size: int = 1024,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        # Tokens come before the backbone's last norm.
        self.local_head = nn.Sequential(nn.LayerNorm(student_dims), nn.Linear(student_dims, teacher_dims))
        self.global_head = nn.Linear(student_dims, teacher_dims)
        # The latest first; rows that are not yet filled are zero.
        self.register_buffer('queue', torch.zeros(queue_size, teacher_dims))

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_local` and `loss_queue`, the weighted means over locations and images.

        The local term is on the student's grid. In training the teacher's embeddings join the queue first.
        """
        height, width = student.locations.shape[-2:]
        ours = self.local_head(student.locations.flatten(2).mT).mT.unflatten(-1, (height, width))
        theirs = teacher.locations_on((height, width))
        ours, theirs = (log_affinity(locations, TEMPERATURE) for locations in (ours, theirs))
        local = kl(ours, theirs, dim=-1).mean()
        our_vector, their_vector = (
            F.normalize(vector.float(), dim=-1)
            for vector in (self.global_head(student.pooled), teacher.pooled)
        )
        if self.training:
            self._enqueue(their_vector)
        queue = kl(self._likes(our_vector), self._likes(their_vector), dim=-1).mean()
        return {'loss_local': self.loss_weight * local, 'loss_queue': self.loss_weight * queue}

    def _likes(self, vectors: Tensor) -> Tensor:
        """Log-probabilities (B, Q) of the queue's entries for unit vectors (B, C); none for empty rows."""
        # Autocast would take the product in half precision, whose cosines are too coarse.
        with torch.autocast(vectors.device.type, enabled=False):
            cosines = vectors @ self.queue.T
        empty = ~self.queue.any(1)
        return (cosines.masked_fill(empty, MASKED) / TEMPERATURE).log_softmax(-1)

    @torch.no_grad()
    def _enqueue(self, vectors: Tensor) -> None:
        """Put the unit vectors (B, C) of all processes before the others, and drop the oldest."""
        latest = torch.cat(dist.all_gather(vectors))
        if len(latest) > len(self.queue):
            raise ValueError(
                f'queue_size={len(self.queue)} is less than the {len(latest)} images of a step, and some '
                'would not be compared with themselves: raise it'
            )
        # A new tensor each time: an earlier step's graph may still hold the old one.
        self.queue = torch.cat((latest, self.queue))[: len(self.queue)]
