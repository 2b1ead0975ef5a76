"""Top-1 accuracy of frozen features, by k nearest neighbours and by a linear probe."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from torch import Tensor

from lfi.registry import METRICS


class FeatureMetric(BaseMetric):
    """Base class of metrics that predict labels from features: top-1 accuracy, in per cent.

    The images of the data set are split into references, whose labels the metric uses, and queries, whose
    labels it predicts. Each sample needs `features`, (C,), which `lfi.ByFeatures` predicts, and `gt_label`.

    Args:
        references: number of references, the first images of the data set, such as the training images of a
            `ConcatDataset`. Defaults to None: every second image of each class, starting with the first.
        **kwargs: arguments of mmengine's `BaseMetric`.

    Raises:
        ValueError: if a sample has no features or no label, if features are not finite, or if there are no
            references or no queries.
    """

    def __init__(self, references: int | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.references = references

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Record the features and the label of each sample."""
        name = type(self).__name__
        for sample in data_samples:
            if 'features' not in sample:
                raise ValueError(
                    f'{name}: the samples have no features: set model.predict_by.type=lfi.ByFeatures'
                )
            if 'gt_label' not in sample or sample['gt_label'].item() < 0:
                raise ValueError(
                    f'{name}: {sample.get("img_path", "an image")} has no label: val_dataloader and '
                    'test_dataloader need labelled data; otherwise remove the metric'
                )
            self.results.append((sample['features'].detach().float().cpu(), sample['gt_label'].item()))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        """Return `top1`, in per cent."""
        features = torch.stack([vector for vector, _ in results])  # [N, C]
        num_broken = int((~features.isfinite()).any(1).sum())
        if num_broken:
            raise ValueError(
                f'{type(self).__name__}: the features of {num_broken} of {len(features)} images are not '
                'finite: the student has diverged; use an earlier checkpoint, or a smaller learning rate'
            )
        labels = torch.tensor([label for _, label in results])  # [N]
        is_reference = reference_mask(labels, self.references)
        predicted = self.predict(features[is_reference], labels[is_reference], features[~is_reference])
        return {'top1': 100 * (predicted.cpu() == labels[~is_reference]).float().mean().item()}

    @abstractmethod
    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Predict the labels of queries, (n,).

        Args:
            references: (N, C), features of the references.
            labels: (N,), labels of the references.
            features: (n, C), features of the queries.
        """


def reference_mask(labels: Tensor, references: int | None) -> Tensor:
    """Mask of the references among all images, (N,) bool.

    Args:
        labels: (N,), labels of all images.
        references: number of references, the first images. None: every second image of each class.

    Raises:
        ValueError: if there are no references or no queries.
    """
    if references is None:
        mask = torch.zeros(len(labels), dtype=torch.bool)
        for label in labels.unique():
            mask[(labels == label).nonzero()[::2, 0]] = True
    else:
        mask = torch.arange(len(labels)) < references
    if mask.all() or not mask.any():
        raise ValueError(
            f'references={references} of {len(labels)} images leaves no image as reference, or no image to '
            'predict: set references to 1 or more and less than the number of images, or to None if a class '
            'has two images or more'
        )
    return mask


# Number of queries in one matrix product with all references.
CHUNK = 1024
TEMPERATURE = 0.07


@METRICS.register_module()
class KNNMetric(FeatureMetric):
    """Top-1 accuracy of a weighted k-nearest-neighbour classifier, `knn/top1`, in per cent.

    A neighbour with cosine similarity s votes for its label with weight exp(s / 0.07) (Wu et al.,
    "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018, section 3.4). DINO
    evaluates features by the same protocol.

    Args:
        k: number of neighbours, at most the number of references. Defaults to 20.
        references: number of references, see `FeatureMetric`. Defaults to None.
        **kwargs: arguments of mmengine's `BaseMetric`.

    Raises:
        ValueError: if `k` is below 1, or on the conditions of `FeatureMetric`.
    """

    default_prefix = 'knn'

    def __init__(self, k: int = 20, references: int | None = None, **kwargs: Any) -> None:
        super().__init__(references, **kwargs)
        if k < 1:
            raise ValueError(f'k={k} leaves no neighbour: set k to 1 or more')
        self.k = k

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Predict the labels of queries, see `FeatureMetric.predict`."""
        references, features = F.normalize(references), F.normalize(features)
        k = min(self.k, len(references))
        predicted = []
        for part in features.split(CHUNK):
            cosines, nearest = (part @ references.T).topk(k)  # each [n, k]
            votes = torch.zeros(len(part), int(labels.max()) + 1)
            # Subtract the largest cosine: no vote overflows, and the nearest neighbour's never vanishes.
            votes.scatter_add_(1, labels[nearest], ((cosines - cosines[:, :1]) / TEMPERATURE).exp())
            predicted.append(votes.argmax(1))
        return torch.cat(predicted)


# Limit of L-BFGS, which converges far earlier on a convex problem.
MAX_STEPS = 200
# L2 penalty relative to the sum of the losses: 1 / C in scikit-learn.
L2 = 1.0


@METRICS.register_module()
class LinearProbeMetric(FeatureMetric):
    """Top-1 accuracy of a linear classifier fitted to the references, `linear/top1`, in per cent.

    The classifier is multinomial logistic regression on features standardised by channel. L-BFGS starts from
    zero, so the result is deterministic.

    Args:
        references: number of references, see `FeatureMetric`. Defaults to None.
        **kwargs: arguments of mmengine's `BaseMetric`.
    """

    default_prefix = 'linear'

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Predict the labels of queries, see `FeatureMetric.predict`."""
        std, mean = torch.std_mean(references, 0, correction=0)
        scale = torch.where(std > 0, 1 / std, 0)
        weight, bias = logistic_regression((references - mean) * scale, labels, L2)
        return ((features - mean) * scale @ weight.T + bias).argmax(1)


@torch.enable_grad()
def logistic_regression(features: Tensor, labels: Tensor, l2: float) -> tuple[Tensor, Tensor]:
    """Weights (K, C) and biases (K,) of multinomial logistic regression, on the CPU; K = max(labels) + 1.

    Args:
        features: (N, C), standardised features.
        labels: (N,), class indices.
        l2: weight of half the squared norm of the weights against the sum of the losses.
    """
    features, labels = features.to(get_device()), labels.to(get_device())
    n, num_classes = len(features), int(labels.max()) + 1
    weight = features.new_zeros(num_classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        (weight, bias), max_iter=MAX_STEPS, tolerance_grad=1e-6, line_search_fn='strong_wolfe'
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + 0.5 * l2 / n * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return weight.detach().cpu(), bias.detach().cpu()
