"""Top-1 of a linear classifier on frozen features."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from torch import Tensor

from lfi.registry import METRICS

from .feature_metric import FeatureMetric


@METRICS.register_module()
class LinearProbeMetric(FeatureMetric):
    """`linear/top1`: the label that a linear classifier of the references predicts, in per cent.

    Multinomial logistic regression of features that are standardised by channel, by L-BFGS from zero: the
    problem is convex, and nothing is drawn.

    Args:
        l2: the weight of half the squared length of the classifier's weights against the sum of the
            references' losses; scikit-learn's 1 / C. Defaults to 1.
        max_iter: steps of L-BFGS at most. Defaults to 200.
        references: as of `FeatureMetric`.
        **kwargs: likewise.

    Raises:
        ValueError: for a negative `l2`, or a `max_iter` below 1; or as `FeatureMetric` says.
    """

    default_prefix = 'linear'

    def __init__(
        self, l2: float = 1.0, max_iter: int = 200, references: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(references, **kwargs)
        if l2 < 0:
            raise ValueError(f'l2={l2} must not be negative')
        if max_iter < 1:
            raise ValueError(f'max_iter={max_iter} must be 1 or more')
        self.l2, self.max_iter = l2, max_iter

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """As of `FeatureMetric`."""
        std, mean = torch.std_mean(references, 0, correction=0)
        # A channel that is constant says nothing.
        scale = torch.where(std > 0, 1 / std, 0)
        weight, bias = logistic_regression((references - mean) * scale, labels, self.l2, self.max_iter)
        return ((features - mean) * scale @ weight.T + bias).argmax(1)


@torch.enable_grad()
def logistic_regression(features: Tensor, labels: Tensor, l2: float, max_iter: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression: weights (K, C) and biases (K,) on the CPU, with K = max(labels) + 1.

    Args:
        features: (N, C).
        labels: (N,).
        l2: as of `LinearProbeMetric`.
        max_iter: likewise.
    """
    features, labels = features.to(get_device()), labels.to(get_device())
    n, classes = len(features), int(labels.max()) + 1
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        (weight, bias), max_iter=max_iter, tolerance_grad=1e-6, line_search_fn='strong_wolfe'
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + 0.5 * l2 / n * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return weight.detach().cpu(), bias.detach().cpu()
