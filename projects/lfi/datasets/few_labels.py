"""`FewLabels`: a data set of which few labels are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose

from lfi.registry import DATASETS
from lfi.structures.labels import UNLABELLED

from .labelled_images import labelled_images, mark_unlabelled, raw_info


@DATASETS.register_module()
class FewLabels:
    """Keeps a few labels of each class, or of a few images whatever they show, and hides all others.

    An image whose label is hidden has `gt_label=-1` and `unlabelled=True` in its data info, and
    `unlabelled=True` in the metainfo of its sample, whatever the pipeline packs. LFI's models then leave
    it out of the task's loss. Other annotations, such as boxes and captions, stay: steps of a pipeline may
    want them, and no loss reads them. Which images keep their label depends on `seed`, the class and the
    images' order alone; those of fewer labels are among those of more. Images and pipeline are the data
    set's own. Give one of `labels_per_class` and `labelled_images`.

    Args:
        dataset: a data set, or its config; with `labels_per_class` one of mmpretrain with one label an image.
        labels_per_class: how many labels of each class are known; 0 for none at all, and then the data set
            need not have any.
        seed: of the choice. Defaults to 0.
        labelled_images: of how many images the annotations are known, for detectors and segmentors.
        lazy_init: whether to read the annotations later, by `full_init`. Defaults to False.
        **unknown: must be empty.

    Raises:
        TypeError: if it wraps another wrapper, or what is not a data set of images with one label each.
        ValueError: for a number below 0, an unknown argument, both numbers or none, or fewer images with
            annotations, of a class or of all, than are asked for; the message names it.

    Examples:
        >>> few = FewLabels(dict(type='lfi.Shapes', split='train', num_images=200), labels_per_class=2)
        >>> int(few.labelled.sum())
        40
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        labels_per_class: int | None = None,
        seed: int = 0,
        labelled_images: int | None = None,
        lazy_init: bool = False,
        **unknown: object,
    ) -> None:
        if unknown:
            raise ValueError(
                f'FewLabels has no argument {", ".join(sorted(unknown))}: it takes labels_per_class, seed, '
                'labelled_images, lazy_init; what is for the data set inside belongs into dataset=dict(...)'
            )
        counts = {'labels_per_class': labels_per_class, 'labelled_images': labelled_images}
        given = {name: count for name, count in counts.items() if count is not None}
        if len(given) != 1:
            raise ValueError(
                f'FewLabels has {given or "neither"}: give it one of labels_per_class and labelled_images'
            )
        for name, value in {**given, 'seed': seed}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f'{name}={value!r} must be a whole number of 0 or more')
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not isinstance(built, BaseDataset):
            raise TypeError(
                f"FewLabels cannot wrap {type(built).__name__}: wrap the data set inside it, of mmengine's "
                'BaseDataset, in place of the wrapper'
            )
        # What was handed in keeps its labels.
        self.dataset = copy.copy(built)
        self.labels_per_class, self.labelled_images, self.seed = labels_per_class, labelled_images, seed
        self._labelled: np.ndarray | None = None
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, and choose the labels that are known."""
        if self._labelled is not None:
            return
        self.dataset.full_init()
        self._labelled = self._choose_images() if self.labels_per_class is None else self._choose_of_classes()
        self.pipeline = self.dataset.pipeline

    @property
    def pipeline(self) -> Callable[[dict], Any]:
        """The data set's; one that mmdet's `PipelineSwitchHook` sets gets no hidden label either."""
        pipeline: Callable[[dict], Any] = self.dataset.pipeline
        return pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable[[dict], Any]) -> None:
        self.dataset.pipeline = Compose([_HiddenLabels(self.labelled, pipeline)])

    @property
    def labelled(self) -> np.ndarray:
        """Which images keep their label, (N,) bool."""
        self.full_init()
        assert self._labelled is not None
        return self._labelled

    @property
    def metainfo(self) -> dict:
        """Of the data set, its classes among it."""
        return self.dataset.metainfo

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """The names of the classes, as mmpretrain's hooks ask for them."""
        return self.metainfo.get('classes')

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> Any:
        self.full_init()
        return self.dataset[index]

    def get_data_info(self, index: int) -> dict:
        """The data info of an image, its label hidden unless it is known."""
        return _hide(self.dataset.get_data_info(index), self.labelled)

    def get_gt_labels(self) -> np.ndarray:
        """The labels that are known, -1 for all others, (N,)."""
        return np.array([self.get_cat_ids(index)[0] for index in range(len(self))])

    def get_cat_ids(self, index: int) -> list[int]:
        """The label of an image, or -1; of a known image with objects their categories."""
        info = _hide(raw_info(self.dataset, index), self.labelled)
        return [info['gt_label']] if 'gt_label' in info else self.dataset.get_cat_ids(index)

    def _choose_images(self) -> np.ndarray:
        """Which images keep their annotations, whatever they show."""
        assert self.labelled_images is not None
        known = np.flatnonzero(labelled_images(self.dataset))
        if len(known) < self.labelled_images:
            raise ValueError(
                f'labelled_images={self.labelled_images}, but {type(self.dataset).__name__} has {len(known)} '
                'images with annotations'
            )
        chosen = np.zeros(len(self.dataset), bool)
        order = np.random.default_rng(self.seed).permutation(len(known))
        chosen[known[order[: self.labelled_images]]] = True
        return chosen

    def _choose_of_classes(self) -> np.ndarray:
        """Which images keep their label, of each class as many."""
        assert self.labels_per_class is not None
        infos = [raw_info(self.dataset, index) for index in range(len(self.dataset))]
        labels = np.array([self._label(info) for info in infos], np.int64)
        known = labelled_images(self.dataset) & (labels >= 0)
        chosen = np.zeros(len(labels), bool)
        if self.labels_per_class == 0:
            return chosen
        names = self.CLASSES
        for label in range(len(names)) if names else np.unique(labels[known]).tolist():
            images = np.flatnonzero(known & (labels == label))
            if len(images) < self.labels_per_class:
                name = f' ({names[label]})' if names else ''
                raise ValueError(
                    f'labels_per_class={self.labels_per_class}, but class {label}{name} has {len(images)} '
                    'images with a label'
                )
            order = np.random.default_rng([self.seed, label]).permutation(len(images))
            chosen[images[order[: self.labels_per_class]]] = True
        return chosen

    def _label(self, info: dict) -> int:
        label = info.get('gt_label')
        if isinstance(label, int | np.integer):
            return int(label)
        if label is None and self.labels_per_class == 0 and 'instances' not in info:
            return -1
        raise TypeError(
            f'{type(self.dataset).__name__} is not a classification data set: the gt_label of '
            f'{info.get("img_path", "an image")} is {label!r}, and should be the number of its class. For '
            'boxes and masks give labelled_images in place of labels_per_class'
        )

    def __repr__(self) -> str:
        count = (
            f'{self.labelled_images} labelled images'
            if self.labels_per_class is None
            else f'{self.labels_per_class} labels a class'
        )
        return f'{type(self).__name__} of {count}, seed {self.seed}\n{self.dataset!r}'


class _HiddenLabels:
    """A pipeline that gets no label but the known ones, and marks its samples."""

    def __init__(self, labelled: np.ndarray, pipeline: Callable[[dict], Any]) -> None:
        self.labelled = labelled
        self.pipeline = pipeline

    def __call__(self, info: dict) -> Any:
        info = _hide(info, self.labelled)
        unlabelled = info.get(UNLABELLED, False)
        results = self.pipeline(info)
        return mark_unlabelled(results) if unlabelled else results

    def __repr__(self) -> str:
        return repr(self.pipeline)


def _hide(info: dict, labelled: np.ndarray) -> dict:
    """A data info whose label is hidden in place, unless it is known."""
    if not labelled[info['sample_idx']]:
        info.update(gt_label=-1, **{UNLABELLED: True})
        info.pop('gt_score', None)
    return info
