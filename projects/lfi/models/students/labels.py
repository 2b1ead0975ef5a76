"""Concepts that the images of a batch are labelled with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.structures import is_unlabelled, recorded_mixture, set_multi_hot_

from .tasks import Task


def concept_labels_of(
    family: Task,
    data_samples: Sequence,
    num_texts: int,
    num_classes: int | None,
    device: torch.device,
    presence_from_labels: bool,
) -> Tensor:
    """Return the concepts that images are labelled with, and those that their captions mention.

    Captions come from `lfi.LoadCaptionConcepts`. An image that is marked as unlabelled has no label.

    Args:
        family: task family of the student.
        data_samples: samples of the batch.
        num_texts: number of texts in the teacher's bank.
        num_classes: number of classes of the head; None if the task has no single number.
        device: device of the images.
        presence_from_labels: whether presence comes from labels alone.

    Returns:
        Labels (B, num_texts) in [0, 1].

    Raises:
        ValueError: if presence comes from labels alone, and an image has neither label nor caption.
    """
    labels = family.labels(data_samples, num_texts, num_classes, device)
    unlabelled = [row for row, sample in enumerate(data_samples) if is_unlabelled(sample)]
    rows = unlabelled if family.reads_labels else range(len(data_samples))
    if presence_from_labels and any('gt_concepts' not in data_samples[row] for row in rows):
        raise ValueError(
            "presence='label' counts concepts without a label as absent, and some images have no label: set "
            "supervision.interactions.reading.presence to 'best-location' or 'image'"
        )
    if unlabelled:
        # The samples may still hold annotations, which must not be used.
        index = torch.tensor(unlabelled).to(labels.device, non_blocking=True)
        labels = labels.index_fill(0, index, 0)
    captions = [sample.gt_concepts for sample in data_samples if 'gt_concepts' in sample]
    if captions:
        # Some images of a joined data set may have no captions.
        concepts = [sample.get('gt_concepts', captions[0][:0]) for sample in data_samples]
        caption_labels = set_multi_hot_(torch.zeros_like(labels), concepts)
        mixture = recorded_mixture(data_samples)
        if mixture is not None:
            caption_labels = mixture.mix_labels(caption_labels)
        labels = torch.maximum(labels, caption_labels)
    return labels
