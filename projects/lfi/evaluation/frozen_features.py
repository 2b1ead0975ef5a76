"""Top-1 of frozen features, by nearest neighbours and by a linear classifier on those of known labels."""

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
    """Base class: top-1 of labels that are predicted from an image's features, in per cent.

    Some images of the data set are references, whose label is known; those of the others are predicted. Each
    sample needs `features`, (C,), as `lfi.ByFeatures` predicts them, and `gt_label`.

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
                raise ValueError(f'{name}: the samples have no features; lfi.ByFeatures predicts them')
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


# Images that are compared with all references at once.
CHUNK = 1024
# By which cosines become votes.
TEMPERATURE = 0.07


@METRICS.register_module()
class KNNMetric(FeatureMetric):
    """`knn/top1`: the label for which an image's nearest references vote, in per cent.

    Weighted k-NN (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    CVPR 2018, section 3.4), as DINO evaluates by it: a neighbour at the cosine s votes with exp(s / 0.07).

    Args:
        k: the neighbours, all references where there are fewer. Defaults to 20.
        references: as of `FeatureMetric`.
        **kwargs: likewise.

    Raises:
        ValueError: for a `k` below 1, or as `FeatureMetric` says.
    """

    default_prefix = 'knn'

    def __init__(self, k: int = 20, references: int | None = None, **kwargs: Any) -> None:
        super().__init__(references, **kwargs)
        if k < 1:
            raise ValueError(f'k={k} leaves no neighbour: use 1 or more')
        self.k = k

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """The predicted labels of features; arguments as `FeatureMetric.predict` has them."""
        references, features = F.normalize(references), F.normalize(features)
        k = min(self.k, len(references))
        predicted = []
        for part in features.split(CHUNK):
            cosines, nearest = (part @ references.T).topk(k)  # each [n, k]
            votes = torch.zeros(len(part), int(labels.max()) + 1)
            # Less that of the nearest: no vote overflows, and its own never vanishes.
            votes.scatter_add_(1, labels[nearest], ((cosines - cosines[:, :1]) / TEMPERATURE).exp())
            predicted.append(votes.argmax(1))
        return torch.cat(predicted)


# Of L-BFGS, which ends far earlier on what is convex.
MAX_STEPS = 200
# The weight of half the squared length of the classifier's weights against the sum of the references' losses;
# scikit-learn's 1 / C.
L2 = 1.0


@METRICS.register_module()
class LinearProbeMetric(FeatureMetric):
    """`linear/top1`: the label that a linear classifier of the references predicts, in per cent.

    Multinomial logistic regression of features that are standardised by channel, by L-BFGS from zero: the
    problem is convex, and nothing is drawn.

    Args:
        references: as of `FeatureMetric`.
        **kwargs: likewise.
    """

    default_prefix = 'linear'

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """The predicted labels of features; arguments as `FeatureMetric.predict` has them."""
        std, mean = torch.std_mean(references, 0, correction=0)
        # A channel that is constant says nothing.
        scale = torch.where(std > 0, 1 / std, 0)
        weight, bias = logistic_regression((references - mean) * scale, labels, L2)
        return ((features - mean) * scale @ weight.T + bias).argmax(1)


@torch.enable_grad()
def logistic_regression(features: Tensor, labels: Tensor, l2: float) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression: weights (K, C) and biases (K,) on the CPU, with K = max(labels) + 1.

    Args:
        features: (N, C).
        labels: (N,).
        l2: as of `LinearProbeMetric`.
    """
    features, labels = features.to(get_device()), labels.to(get_device())
    n, classes = len(features), int(labels.max()) + 1
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
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
