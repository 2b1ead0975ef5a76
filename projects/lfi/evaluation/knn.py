"""Top-1 of the nearest neighbours of frozen features."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.option_checks import check_positive
from lfi.registry import METRICS

from .feature_metric import FeatureMetric

# Images that are compared with all references at once.
CHUNK = 1024


@METRICS.register_module()
class KNNMetric(FeatureMetric):
    """`knn/top1`: the label for which an image's nearest references vote, in per cent.

    Weighted k-NN (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    CVPR 2018, section 3.4), as DINO evaluates by it: a neighbour at the cosine s votes with exp(s / t).

    Args:
        k: the neighbours, all references where there are fewer. Defaults to 20.
        temperature: t. Defaults to 0.07.
        references: as of `FeatureMetric`.
        **kwargs: likewise.

    Raises:
        ValueError: for a `k` below 1 or a temperature of 0 and below; or as `FeatureMetric` says.
    """

    default_prefix = 'knn'

    def __init__(
        self, k: int = 20, temperature: float = 0.07, references: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(references, **kwargs)
        if k < 1:
            raise ValueError(f'k={k} leaves no neighbour: use 1 or more')
        check_positive(temperature=temperature)
        self.k, self.temperature = k, temperature

    def predict(self, references: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """As of `FeatureMetric`."""
        references, features = F.normalize(references), F.normalize(features)
        k = min(self.k, len(references))
        predicted = []
        for part in features.split(CHUNK):
            cosines, nearest = (part @ references.T).topk(k)  # each [n, k]
            votes = torch.zeros(len(part), int(labels.max()) + 1)
            # Less that of the nearest: no vote overflows, and its own never vanishes.
            votes.scatter_add_(1, labels[nearest], ((cosines - cosines[:, :1]) / self.temperature).exp())
            predicted.append(votes.argmax(1))
        return torch.cat(predicted)
