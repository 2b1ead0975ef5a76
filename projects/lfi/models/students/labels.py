"""The labels of a batch among the teacher's concepts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.structures import is_unlabelled, recorded_mixture, set_multi_hot_

from .tasks import Task


def concept_labels(
    family: Task,
    data_samples: Sequence,
    num_texts: int,
    num_classes: int | None,
    device: torch.device,
    only_labels: bool,
) -> Tensor:
    """The images' labels among the concepts, and what their captions speak of, (B, num_texts) in [0, 1].

    Captions are those of `lfi.LoadCaptionConcepts`. An image that is marked as unlabelled has no label.

    Args:
        family: of the student's task.
        data_samples: of the batch.
        num_texts: of the teacher's bank.
        num_classes: how many classes the head tells apart; None where that is not one number.
        device: of the images.
        only_labels: whether presence is that of the labels alone.

    Raises:
        ValueError: for an image with neither, if presence is that of the labels alone.
    """
    labels = family.labels(data_samples, num_texts, num_classes, device)
    hidden = [row for row, sample in enumerate(data_samples) if is_unlabelled(sample)]
    unknown = hidden if family.reads_labels else range(len(data_samples))
    if only_labels and any('gt_concepts' not in data_samples[row] for row in unknown):
        raise ValueError(
            "presence='label' takes for absent what no label names, and some images have no label: set "
            "supervision.interactions.reading.presence to 'best-location' or 'image'"
        )
    if hidden:
        # What annotations there are is not to be known.
        rows = torch.tensor(hidden).to(labels.device, non_blocking=True)
        labels = labels.index_fill(0, rows, 0)
    captions = [sample.gt_concepts for sample in data_samples if 'gt_concepts' in sample]
    if captions:
        # A data set with captions may stand beside one without; all are on one device.
        named = [sample.get('gt_concepts', captions[0][:0]) for sample in data_samples]
        spoken = set_multi_hot_(torch.zeros_like(labels), named)
        mixture = recorded_mixture(data_samples)
        labels = torch.maximum(labels, spoken if mixture is None else mixture.mix_labels(spoken))
    return labels
