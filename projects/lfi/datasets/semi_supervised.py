"""Data with labels, and images without beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.dataset import BaseDataset, ConcatDataset

from lfi.registry import DATASETS


@DATASETS.register_module()
class SemiSupervisedDataset(ConcatDataset):
    """A data set with labels, and others without beside it, as `lfi.LabelledShareSampler` mixes them.

    It is mmengine's `ConcatDataset`, of which the first data set is the task's: the metainfo is that one's,
    whatever the others name, and hooks that change its pipeline find it, such as mmdet's `PipelineSwitchHook`
    and `YOLOXModeSwitchHook`. The other pipelines stay.

    Args:
        datasets: the one with labels first; the others `lfi.ImageFolder`, or in `lfi.FewLabels` with
            `labels_per_class=0`.
        lazy_init: whether annotations are read later. Defaults to False.
    """

    def __init__(self, datasets: Sequence[BaseDataset | dict], lazy_init: bool = False) -> None:
        super().__init__(datasets, lazy_init, ignore_keys=_EveryKey())

    @property
    def pipeline(self) -> Callable[[dict], Any]:
        """Of the images with labels."""
        pipeline: Callable[[dict], Any] = self._with_pipeline().pipeline
        return pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable[[dict], Any]) -> None:
        self._with_pipeline().pipeline = pipeline

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave out steps of the images with labels, as mmdet's `MultiImageMixDataset` does."""
        self._with_pipeline().update_skip_type_keys(skip_type_keys)

    def _with_pipeline(self) -> Any:
        # A data set that repeats another has no pipeline of its own.
        dataset = self.datasets[0]
        while not hasattr(dataset, 'pipeline'):
            dataset = dataset.dataset
        return dataset


class _EveryKey(list):
    """The keys that mmengine does not compare: images without labels need not name classes."""

    def __contains__(self, key: object) -> bool:
        return True
