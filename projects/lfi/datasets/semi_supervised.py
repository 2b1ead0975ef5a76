"""Data with labels, and images without beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmengine.dataset import BaseDataset, ConcatDataset

from lfi.registry import DATASETS

from .labelled_images import labelled_images, mark_unlabelled


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

    Raises:
        ValueError: If another one than the first has labels.
    """

    def __init__(self, datasets: Sequence[BaseDataset | dict], lazy_init: bool = False) -> None:
        super().__init__(datasets, lazy_init, ignore_keys=_EveryKey())

    @property
    def pipeline(self) -> Callable[[dict], Any]:
        """Of the images with labels; of several data sets the first one's, and all get one that is set."""
        pipeline: Callable[[dict], Any] = next(_with_pipelines(self.datasets[0])).pipeline
        return pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable[[dict], Any]) -> None:
        for dataset in _with_pipelines(self.datasets[0]):
            dataset.pipeline = pipeline

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """The names of the first data set's classes, as mmpretrain's hooks ask for them."""
        return self.metainfo.get('classes')

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave out steps of the images with labels, as mmdet's `MultiImageMixDataset` does."""
        for dataset in _with_pipelines(self.datasets[0]):
            dataset.update_skip_type_keys(skip_type_keys)

    def __getitem__(self, idx: int) -> Any:
        """An item; samples of all data sets but the first are marked as unlabelled, whatever they say."""
        item = super().__getitem__(idx)
        return item if idx % len(self) < len(self.datasets[0]) else mark_unlabelled(item)

    def full_init(self) -> None:
        """Read the annotations."""
        if self._fully_initialized:
            return
        super().full_init()
        for dataset in self.datasets[1:]:
            if labelled_images(dataset).any():
                raise ValueError(
                    f'{type(dataset).__name__} has labels, and is not the first data set of '
                    'lfi.SemiSupervisedDataset: no classes are compared. Join data sets with labels by '
                    'ConcatDataset, and hide labels by lfi.FewLabels with labels_per_class=0'
                )


def _with_pipelines(dataset: Any) -> Iterator[Any]:
    """The data sets that have a pipeline of their own; what repeats or joins others has none."""
    if hasattr(dataset, 'pipeline'):
        yield dataset
        return
    for inner in getattr(dataset, 'datasets', None) or [dataset.dataset]:
        yield from _with_pipelines(inner)


class _EveryKey(list):
    """The keys that mmengine does not compare: images without labels need not name classes."""

    def __contains__(self, key: object) -> bool:
        return True
