"""COCO's average precision by a faster evaluator. Needs mmdet; `lfi.evaluation` does not import it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

from mmdet.evaluation.metrics import CocoMetric

from lfi.registry import METRICS


@METRICS.register_module()
class FasterCocoMetric(CocoMetric):
    """mmdet's `CocoMetric` whose evaluator is that of `faster-coco-eval`: the same numbers, sooner.

    Arguments, names and values of the metrics are mmdet's own.

    Args:
        *args: of `CocoMetric`.
        **kwargs: likewise.

    Raises:
        ModuleNotFoundError: if the package is not installed; the message says what to type.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if find_spec('faster_coco_eval') is None:
            raise ModuleNotFoundError(
                "lfi.FasterCocoMetric needs faster-coco-eval: pip install 'lfi[coco]', or set the "
                "evaluator's type to 'CocoMetric', which gives the same numbers"
            )
        super().__init__(*args, **kwargs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics of all images, as `CocoMetric` has them."""
        faster = import_module('faster_coco_eval').COCOeval_faster
        # mmdet names its evaluator in the module alone.
        with patch('mmdet.evaluation.metrics.coco_metric.COCOeval', faster):
            return super().compute_metrics(results)
