"""`SemiSupervisedDataset`: labelled and unlabelled data sets in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmengine.dataset import BaseDataset, ConcatDataset

from lfi.registry import DATASETS

from .labelled_images import labelled_mask, mark_unlabelled


@DATASETS.register_module()
class SemiSupervisedDataset(ConcatDataset):
    """Concatenation of a labelled data set and unlabelled ones, for `lfi.LabelledShareSampler`.

    The labelled data set provides the metainfo. Hooks such as mmdet's `PipelineSwitchHook` and
    `YOLOXModeSwitchHook` change the pipeline of the labelled data set alone.

    Args:
        datasets: the labelled data set first, then unlabelled ones: `lfi.ImageFolder`, or `lfi.FewLabels`
            with `labels_per_class=0`.
        lazy_init: whether to read annotations later. Defaults to False.

    Raises:
        ValueError: if a data set other than the first has labels.
    """

    def __init__(self, datasets: Sequence[BaseDataset | dict], lazy_init: bool = False) -> None:
        super().__init__(datasets, lazy_init, ignore_keys=_AllKeys())

    @property
    def pipeline(self) -> Callable[[dict], Any]:
        """Pipeline of the labelled images. Setting it changes all pipelines inside the first data set."""
        pipeline: Callable[[dict], Any] = next(_with_pipelines(self.datasets[0])).pipeline
        return pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable[[dict], Any]) -> None:
        for dataset in _with_pipelines(self.datasets[0]):
            dataset.pipeline = pipeline

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """Class names of the first data set, for mmpretrain's hooks."""
        return self.metainfo.get('classes')

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Skip types of steps in the labelled images' pipelines, as mmdet's `MultiImageMixDataset` does."""
        for dataset in _with_pipelines(self.datasets[0]):
            dataset.update_skip_type_keys(skip_type_keys)

    def __getitem__(self, idx: int) -> Any:
        """Return an item. Samples of all data sets except the first are marked as unlabelled."""
        item = super().__getitem__(idx)
        return item if idx % len(self) < len(self.datasets[0]) else mark_unlabelled(item)

    def full_init(self) -> None:
        """Read the annotations."""
        if self._fully_initialized:
            return
        super().full_init()
        for dataset in self.datasets[1:]:
            if labelled_mask(dataset).any():
                raise ValueError(
                    f'{type(dataset).__name__} has labels, and is not the first data set of '
                    'lfi.SemiSupervisedDataset, which does not compare classes: join labelled data sets by '
                    'ConcatDataset, or hide labels by lfi.FewLabels with labels_per_class=0'
                )


def _with_pipelines(dataset: Any) -> Iterator[Any]:
    """Yield the data sets that have a pipeline, from inside wrappers that repeat or join data sets."""
    if hasattr(dataset, 'pipeline'):
        yield dataset
        return
    for inner in getattr(dataset, 'datasets', None) or [dataset.dataset]:
        yield from _with_pipelines(inner)


class _AllKeys(list):
    """All metainfo keys: mmengine must compare none, since unlabelled data sets need not name classes."""

    def __contains__(self, key: object) -> bool:
        return True
