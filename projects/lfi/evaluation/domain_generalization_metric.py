"""Accuracy domain by domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from mmengine.evaluator import BaseMetric

from lfi.registry import METRICS


@METRICS.register_module()
class DomainGeneralizationMetric(BaseMetric):
    """Top-1 accuracy of each domain, their mean and the worst, in per cent.

    It gives `domain/<name>`, `domain/mean`, in which all domains count alike, and `domain/worst`. The
    pipeline must pack the images' domain: `PackInputs(meta_keys=(..., 'domain'))`.

    Args:
        **kwargs: `collect_device` and `prefix` of mmengine's `BaseMetric`. The prefix defaults to 'domain'.

    Raises:
        ValueError: if a sample has no `domain`.
    """

    default_prefix = 'domain'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Keep each sample's domain, and whether its label was predicted."""
        for sample in data_samples:
            if 'domain' not in sample:
                raise ValueError(
                    'DomainGeneralizationMetric: the samples have no domain. Use a data set that gives it '
                    "(lfi.PACS, lfi.VLCS, lfi.Shapes), and pack it: PackInputs(meta_keys=(..., 'domain'))"
                )
            self.results.append((sample['domain'], sample['pred_label'].item() == sample['gt_label'].item()))

    def compute_metrics(self, results: list[tuple[str, bool]]) -> dict[str, float]:
        """The metrics of all samples' results."""
        hits = defaultdict(list)
        for domain, hit in results:
            hits[domain].append(hit)
        accuracy = {domain: 100 * fmean(hits[domain]) for domain in sorted(hits)}
        return {**accuracy, 'mean': fmean(accuracy.values()), 'worst': min(accuracy.values())}
