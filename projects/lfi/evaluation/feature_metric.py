"""What measures of frozen features share: features with labels, of which some are known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor


class FeatureMetric(BaseMetric):
    """Base class: top-1 of labels that are predicted from an image's features, in per cent.

    Some images of the data set are references, whose label is known; those of the others are predicted. Each
    sample needs `features`, (C,), as `lfi.LFIPretrainer` predicts them, and `gt_label`.

    Args:
        references: how many of the data set's first images are references, such as the training images
            that a `ConcatDataset` has before those of validation. Defaults to None: every other image of
            each class, the first one among them.
        **kwargs: of mmengine's `BaseMetric`.

    Raises:
        ValueError: if a sample has no features or no label; if features are not numbers; or if there is no
            reference, or no other image.
    """

    def __init__(self, references: int | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.references = references

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Keep each sample's features and label."""
        name = type(self).__name__
        for sample in data_samples:
            if 'features' not in sample:
                raise ValueError(f'{name}: the samples have no features; lfi.LFIPretrainer predicts them')
            if 'gt_label' not in sample or sample['gt_label'].item() < 0:
                raise ValueError(
                    f'{name}: {sample.get("img_path", "an image")} has no label: val_dataloader and '
                    'test_dataloader need labelled data, or the metric is to be left out'
                )
            self.results.append((sample['features'].detach().float().cpu(), sample['gt_label'].item()))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        """`top1`."""
        features = torch.stack([its for its, _ in results])  # [N, C]
        broken = int((~features.isfinite()).any(1).sum())
        if broken:
            raise ValueError(
                f'{type(self).__name__}: the features of {broken} of {len(features)} images are not numbers: '
                'the student has diverged; take an earlier checkpoint, or a smaller learning rate'
            )
        labels = torch.tensor([label for _, label in results])  # [N]
        known = known_rows(labels, self.references)
        predicted = self.predict(features[known], labels[known], features[~known])
        return {'top1': 100 * (predicted.cpu() == labels[~known]).float().mean().item()}

    @abstractmethod
    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """The labels of other images, (n,).

        Args:
            references: (N, C), features of images whose label is known.
            labels: (N,), their labels.
            features: (n, C), of the other images.
        """


def known_rows(labels: Tensor, references: int | None) -> Tensor:
    """Which images are references, (N,) bool.

    Args:
        labels: (N,).
        references: as of `FeatureMetric`.

    Raises:
        ValueError: if that leaves no reference, or no other image.
    """
    if references is None:
        known = torch.zeros(len(labels), dtype=torch.bool)
        for label in labels.unique():
            known[(labels == label).nonzero()[::2, 0]] = True
    else:
        known = torch.arange(len(labels)) < references
    if known.all() or not known.any():
        raise ValueError(
            f'references={references} of {len(labels)} images leaves no image whose label is known, or none '
            'whose label is to be predicted: set it between 1 and one less than the number of images, or to '
            'None where a class has two images or more'
        )
    return known
