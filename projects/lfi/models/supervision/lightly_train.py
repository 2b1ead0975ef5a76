"""Baseline: the losses of LightlyTrain's `distillationv3`."""

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
    """Targets of the two losses.

    Args:
        affinity: (B, N, N), logarithm of the teacher's affinities of locations.
        embedding: (B, E), unit embeddings of the images.
        latest: (B, E), the teacher's unit embeddings that enter the queue: with `MeanTarget` those of the
            images themselves, with `OtherImage` those of the other images.
    """

    affinity: Tensor
    embedding: Tensor
    latest: Tensor


@MODELS.register_module()
class LightlyTrain(SupervisionPart):
    """Losses of `distillationv3` in LightlyTrain 0.17: affinity of locations, and similarity to a queue.

    Each of the two losses is a KL divergence between softmaxes of cosines at one temperature; both have the
    same weight. The local loss compares the cosines of an image's locations. The queue loss compares the
    cosines of an image's vector with the teacher's embeddings of the latest images, this batch included. One
    linear layer maps the student's tokens to the teacher's width, another one maps the student's vector.

    Six things differ from LightlyTrain:

    - A layer norm precedes the tokens' linear layer: tokens are recorded before the backbone's last norm.
    - LightlyTrain mixes images (MixUp). Here all arms see the same images.
    - LightlyTrain's queue starts with zeros, which are compared too. Ours starts empty.
    - LightlyTrain has one queue per process. Here all processes share one, so that a checkpoint of the first
      process resumes all of them.
    - LightlyTrain compares locations on the teacher's grid. Ours are on the student's grid.
    - LightlyTrain's linear layers start from a truncated normal of 0.02. Ours have PyTorch's default.

    All processes must have batches of one size.

    Args:
        queue_size: number of embeddings in the queue. LightlyTrain takes a quarter to a half of the training
            images, at most 8192. Defaults to 1024.
        loss_weight: weight of the losses, 0 or more. Defaults to 1.
        student_dims: width of the student's pooled vector. Defaults to None: the head's `in_channels`, or
            without a head the width of the tokens.
        teacher_dims: width of the teacher's features. Defaults to None: the width of its text space.

    Raises:
        ValueError: if an option is out of range; or in a step with more than `queue_size` images over all
            processes.
    """

    teacher_outputs = frozenset({'features'})
    student_outputs = frozenset({'locations', 'vector'})
    target_varies_by_location = True
    mean_names = ('affinity', 'embedding')

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
        """Build the two linear layers and the empty queue."""
        dims = widths.texts() if self.teacher_dims is None else self.teacher_dims
        # Tokens are recorded before the backbone's last norm.
        self.local_head = nn.Sequential(nn.LayerNorm(widths.tokens), nn.Linear(widths.tokens, dims))
        self.global_head = nn.Linear(widths.vector if self.student_dims is None else self.student_dims, dims)
        # The latest embedding comes first. Empty rows are zero.
        self.register_buffer('queue', torch.zeros(self.queue_size, dims))

    def check_teacher(self, teacher: Teacher) -> None:
        """Check `teacher_dims`."""
        check_teacher_dims(self.teacher_dims, teacher)

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> LightlyTarget:
        """Compute the teacher's affinities of locations and unit embeddings of the images.

        Raises:
            ValueError: if images are padded, or end within a location.
        """
        batch.refuse_padding()
        grid.refuse_overhang(batch.size)
        assert targets.features is not None
        embedding = F.normalize(targets.features.pooled.float(), dim=-1)
        affinity = log_affinity(targets.features.locations, TEMPERATURE)
        return LightlyTarget(affinity, embedding, embedding)

    def with_means(
        self, target: LightlyTarget, means: Mapping[str, RunningMean], num_texts: int
    ) -> LightlyTarget:
        """Replace affinities and embeddings by their means; the queue keeps the images' own embeddings."""
        affinity = updated_mean(target.affinity.exp(), means['affinity']).log()
        embedding = F.normalize(updated_mean(target.embedding, means['embedding']), dim=-1)
        return target._replace(
            affinity=affinity.expand_as(target.affinity), embedding=embedding.expand_as(target.embedding)
        )

    def forward(self, outputs: StudentOutputs, target: LightlyTarget) -> dict[str, Tensor]:
        """Compute `loss_local` and `loss_queue`, weighted means over locations and images.

        In training the teacher's embeddings enter the queue first.
        """
        tokens = outputs.states.locations()
        features = self.local_head(tokens.flatten(2).mT).mT.unflatten(-1, tokens.shape[-2:])
        local = kl(log_affinity(features, TEMPERATURE), target.affinity, dim=-1).mean()
        vector = vector_of(outputs, self.global_head.in_features)
        embedding = F.normalize(self.global_head(vector).float(), dim=-1)
        if self.training:
            self._enqueue(target.latest)
        queue = kl(self._queue_log_probs(embedding), self._queue_log_probs(target.embedding), dim=-1).mean()
        return {'loss_local': self.loss_weight * local, 'loss_queue': self.loss_weight * queue}

    def reset_statistics(self) -> None:
        """Empty the queue."""
        self.queue.zero_()

    def _queue_log_probs(self, vectors: Tensor) -> Tensor:
        """Log-probabilities (B, Q) of the queue's entries for unit vectors (B, C); empty rows are masked."""
        # Cosines in half precision are too coarse.
        with torch.autocast(vectors.device.type, enabled=False):
            cosines = vectors @ self.queue.T
        empty = ~self.queue.any(1)
        return (cosines.masked_fill(empty, MASKED) / TEMPERATURE).log_softmax(-1)

    @torch.no_grad()
    def _enqueue(self, vectors: Tensor) -> None:
        """Put the unit vectors (B, C) of all processes at the front of the queue, and drop the oldest."""
        latest = torch.cat(dist.all_gather(vectors))
        if len(latest) > len(self.queue):
            raise ValueError(
                f'queue_size={len(self.queue)} is less than the {len(latest)} images of a step, all of which '
                'the queue must hold: raise queue_size'
            )
        # A new tensor each time: an earlier step's graph may still hold the old one.
        self.queue = torch.cat((latest, self.queue))[: len(self.queue)]
