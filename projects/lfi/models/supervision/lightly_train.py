"""Baseline: what LightlyTrain's third distillation method compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine import dist
from torch import Tensor, nn

from lfi.models.losses.log_probabilities import kl, log_affinity
from lfi.models.losses.means import RunningMean
from lfi.models.teachers import Teacher
from lfi.registry import MODELS
from lfi.structures import MASKED, BatchView, StudentGrid, Targets
from lfi.utils.options import check_weights, check_whole, check_widths

from .part import StudentOutputs, StudentWidths, SupervisionPart, check_teacher_dims, updated_mean, vector_of

TEMPERATURE = 0.07


class LightlyTarget(NamedTuple):
    """What the two terms learn towards.

    Args:
        affinity: (B, N, N), the logarithm of the teacher's affinities of locations.
        embedding: (B, E), the images' embeddings.
        latest: (B, E), the teacher's own unit embeddings, which join the queue.
    """

    affinity: Tensor
    embedding: Tensor
    latest: Tensor


@MODELS.register_module()
class LightlyTrain(SupervisionPart):
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
        queue_size: embeddings in the queue. A quarter to a half of the training images, 8192 at
            most, is what LightlyTrain takes. Defaults to 1024.
        loss_weight: 0 or more. Defaults to 1.
        student_dims: width of the student's pooled vector. Defaults to None: the head's `in_channels`, and
            without a head the width of the tokens.
        teacher_dims: width of the teacher's features. Defaults to None: that of its text space, by its
            config.

    Raises:
        ValueError: if an option is out of its range; or in a step of more images, those of all processes,
            than the queue holds.
    """

    needs = frozenset({'features'})
    reads = frozenset({'locations', 'vector'})
    compares_locations = True
    averages = ('affinity', 'embedding')

    queue: Tensor
    local_head: nn.Sequential
    global_head: nn.Linear

    def __init__(
        self,
        queue_size: int = 1024,
        loss_weight: float = 1.0,
        student_dims: int | None = None,
        teacher_dims: int | None = None,
    ) -> None:
        super().__init__()
        check_whole(1, queue_size=queue_size)
        check_weights(loss_weight=loss_weight)
        check_widths(student_dims=student_dims, teacher_dims=teacher_dims)
        self.queue_size = queue_size
        self.loss_weight = loss_weight
        self.student_dims = student_dims
        self.teacher_dims = teacher_dims

    def build_heads(self, widths: StudentWidths) -> None:
        """Build the two linear layers, and the empty queue."""
        dims = widths.texts() if self.teacher_dims is None else self.teacher_dims
        # Tokens come before the backbone's last norm.
        self.local_head = nn.Sequential(nn.LayerNorm(widths.tokens), nn.Linear(widths.tokens, dims))
        self.global_head = nn.Linear(widths.vector if self.student_dims is None else self.student_dims, dims)
        # The latest first; rows that are not yet filled are zero.
        self.register_buffer('queue', torch.zeros(self.queue_size, dims))

    def check_teacher(self, teacher: Teacher) -> None:
        """Check `teacher_dims`."""
        check_teacher_dims(self.teacher_dims, teacher)

    def target_of(self, targets: Targets, view: BatchView, grid: StudentGrid) -> LightlyTarget:
        """The teacher's affinities of locations, and its embeddings of the images.

        Raises:
            ValueError: if images are padded, or end within a location.
        """
        view.refuse_padding()
        grid.refuse_overhang(view.size)
        assert targets.features is not None
        embedding = F.normalize(targets.features.pooled.float(), dim=-1)
        affinity = log_affinity(targets.features.locations, TEMPERATURE)
        return LightlyTarget(affinity, embedding, embedding)

    def with_means(
        self, target: LightlyTarget, means: Mapping[str, RunningMean], num_texts: int
    ) -> LightlyTarget:
        """The mean affinity and the mean embedding; the queue keeps the images' own embeddings."""
        affinity = updated_mean(target.affinity.exp(), means['affinity']).log()
        embedding = F.normalize(updated_mean(target.embedding, means['embedding']), dim=-1)
        return target._replace(
            affinity=affinity.expand_as(target.affinity), embedding=embedding.expand_as(target.embedding)
        )

    def forward(self, outputs: StudentOutputs, target: LightlyTarget) -> dict[str, Tensor]:
        """`loss_local` and `loss_queue`, the weighted means over locations and images.

        In training the teacher's embeddings join the queue first.
        """
        tokens = outputs.states.locations()
        ours = self.local_head(tokens.flatten(2).mT).mT.unflatten(-1, tokens.shape[-2:])
        local = kl(log_affinity(ours, TEMPERATURE), target.affinity, dim=-1).mean()
        our_vector = F.normalize(
            self.global_head(vector_of(outputs, self.global_head.in_features)).float(), dim=-1
        )
        if self.training:
            self._enqueue(target.latest)
        queue = kl(self._likes(our_vector), self._likes(target.embedding), dim=-1).mean()
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
