"""Accuracy by domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from mmengine.evaluator import BaseMetric

from lfi.registry import METRICS


@METRICS.register_module()
class DomainGeneralizationMetric(BaseMetric):
    """Top-1 accuracy of each domain, their mean and the worst, in per cent.

    The metric logs `domain/<name>`, `domain/mean` (the unweighted mean over domains) and `domain/worst`.
    The pipeline must pack the domain of each image: `PackInputs(meta_keys=(..., 'domain'))`.

    Args:
        **kwargs: `collect_device` and `prefix` of mmengine's `BaseMetric`. `prefix` defaults to 'domain'.

    Raises:
        ValueError: if a sample has no `domain`.
    """

    default_prefix = 'domain'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Record the domain of each sample, and whether the prediction is correct."""
        for sample in data_samples:
            if 'domain' not in sample:
                raise ValueError(
                    'DomainGeneralizationMetric: the samples have no domain. Use a data set with domains '
                    "(lfi.PACS, lfi.VLCS, lfi.Shapes), and pack them: PackInputs(meta_keys=(..., 'domain'))"
                )
            self.results.append((sample['domain'], sample['pred_label'].item() == sample['gt_label'].item()))

    def compute_metrics(self, results: list[tuple[str, bool]]) -> dict[str, float]:
        """Return the accuracy of each domain, the mean and the worst, in per cent."""
        hits = defaultdict(list)
        for domain, hit in results:
            hits[domain].append(hit)
        accuracy = {domain: 100 * fmean(hits[domain]) for domain in sorted(hits)}
        return {**accuracy, 'mean': fmean(accuracy.values()), 'worst': min(accuracy.values())}
