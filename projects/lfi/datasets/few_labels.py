"""`FewLabels`: a data set with most labels hidden."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose

from lfi.registry import DATASETS
from lfi.structures.labels import UNLABELLED

from .labelled_images import labelled_mask, mark_unlabelled, raw_info

# Keys of the objects in a data info of mmdet, boxes and masks, and panoptic segments; and as arrays, in ours.
INSTANCES = ('instances', 'segments_info')
OBJECT_ARRAYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks')


@DATASETS.register_module()
class FewLabels:
    """Data set that keeps a few labels of each class, or annotations of a few images, and hides all others.

    An image with a hidden label has `gt_label=-1` and `unlabelled=True` in its data info, and
    `unlabelled=True` in the metainfo of its sample, whatever the pipeline packs. LFI's models leave it out of
    the task's loss. Its boxes and masks are removed before the pipeline, so that no step selects pixels by
    them. Annotated segmentation maps and captions stay: steps load them, but the task's loss ignores those of
    unlabelled images. The choice of images depends only on `seed`, the class and the order of the images. A
    larger `labels_per_class` or `labelled_images` keeps the images that a smaller one chooses, and adds
    others. The wrapped data set provides images and pipeline. Set exactly one of `labels_per_class` and
    `labelled_images`.

    Args:
        dataset: data set of mmengine, or its config. `labels_per_class` needs one `gt_label` for each image.
        labels_per_class: number of labels of each class. 0 hides all labels, of any kind; the data set need
            not have any. Defaults to None.
        seed: random seed of the choice. Defaults to 0.
        labelled_images: number of images with annotations, for detectors, segmentors and classifiers whose
            images have several labels. Defaults to None.
        lazy_init: whether to read the annotations later, by `full_init`. Defaults to False.
        **unknown: unknown arguments; must be empty.

    Raises:
        TypeError: if `dataset` is a wrapper; or `labels_per_class` above 0 meets an image of no single label.
        ValueError: if a number is below 0, an argument is unknown, both or neither of `labels_per_class` and
            `labelled_images` are set, or a class or the data set has fewer labelled images than requested.

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
                'labelled_images, lazy_init. Put arguments of the wrapped data set into dataset=dict(...)'
            )
        counts = {'labels_per_class': labels_per_class, 'labelled_images': labelled_images}
        given = {name: count for name, count in counts.items() if count is not None}
        if len(given) != 1:
            raise ValueError(
                'FewLabels: set exactly one of labels_per_class and labelled_images, got '
                f'{given or "neither"}'
            )
        for name, value in {**given, 'seed': seed}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f'{name}={value!r} must be a whole number of 0 or more')
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not isinstance(built, BaseDataset):
            raise TypeError(
                f'FewLabels cannot wrap {type(built).__name__}. It wraps only data sets that inherit from '
                "mmengine's BaseDataset: in a wrapper such as ConcatDataset, wrap each inner data set in a "
                'FewLabels'
            )
        # Hide labels in a copy: the caller's data set keeps them.
        self.dataset = copy.copy(built)
        self.labels_per_class, self.labelled_images, self.seed = labels_per_class, labelled_images, seed
        self._labelled: np.ndarray | None = None
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, and choose the labels to keep."""
        if self._labelled is not None:
            return
        self.dataset.full_init()
        self._labelled = self._choose_images() if self.labels_per_class is None else self._choose_by_class()
        self.pipeline = self.dataset.pipeline

    @property
    def pipeline(self) -> Callable[[dict], Any]:
        """Pipeline of the data set.

        If it is replaced, for example by mmdet's `PipelineSwitchHook`, labels stay hidden.
        """
        pipeline: Callable[[dict], Any] = self.dataset.pipeline
        return pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable[[dict], Any]) -> None:
        self.dataset.pipeline = Compose([_HiddenLabels(self.labelled, pipeline)])

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the images that keep their label, (N,) bool."""
        self.full_init()
        assert self._labelled is not None
        return self._labelled

    @property
    def metainfo(self) -> dict:
        """Metainfo of the data set, with its classes."""
        return self.dataset.metainfo

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """Class names, for mmpretrain's hooks."""
        return self.metainfo.get('classes')

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> Any:
        self.full_init()
        return self.dataset[index]

    def get_data_info(self, index: int) -> dict:
        """Return the data info of an image, with its label hidden unless the image keeps it."""
        return _hide(self.dataset.get_data_info(index), self.labelled)

    def get_gt_labels(self) -> np.ndarray:
        """Return the labels of all images, -1 for hidden ones, (N,)."""
        return np.array([self.get_cat_ids(index)[0] for index in range(len(self))])

    def get_cat_ids(self, index: int) -> list[int]:
        """Return the image's label in a list, or for boxes and masks the categories of its objects.

        If the label is hidden, return [-1].
        """
        info = _hide(raw_info(self.dataset, index), self.labelled)
        return [info['gt_label']] if 'gt_label' in info else self.dataset.get_cat_ids(index)

    def _choose_images(self) -> np.ndarray:
        """Choose images regardless of class. Return the mask of the chosen images, (N,) bool."""
        assert self.labelled_images is not None
        annotated = np.flatnonzero(labelled_mask(self.dataset))
        if len(annotated) < self.labelled_images:
            raise ValueError(
                f'labelled_images={self.labelled_images}, but {type(self.dataset).__name__} has '
                f'{len(annotated)} images with annotations'
            )
        chosen = np.zeros(len(self.dataset), bool)
        order = np.random.default_rng(self.seed).permutation(len(annotated))
        chosen[annotated[order[: self.labelled_images]]] = True
        return chosen

    def _choose_by_class(self) -> np.ndarray:
        """Choose equally many images of each class. Return the mask of the chosen images, (N,) bool."""
        assert self.labels_per_class is not None
        if self.labels_per_class == 0:
            return np.zeros(len(self.dataset), bool)
        infos = [raw_info(self.dataset, index) for index in range(len(self.dataset))]
        labels = np.array([self._label(info) for info in infos], np.int64)
        annotated = labelled_mask(self.dataset) & (labels >= 0)
        chosen = np.zeros(len(labels), bool)
        names = self.CLASSES
        for label in range(len(names)) if names else np.unique(labels[annotated]).tolist():
            images = np.flatnonzero(annotated & (labels == label))
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
        raise TypeError(
            f'{type(self.dataset).__name__} has not one class for each image: the gt_label of '
            f'{info.get("img_path", "an image")} is {label!r}, but must be the index of a class. For several '
            'classes of an image, boxes or masks, set labelled_images in place of labels_per_class'
        )

    def __repr__(self) -> str:
        count = (
            f'{self.labelled_images} labelled images'
            if self.labels_per_class is None
            else f'{self.labels_per_class} labels a class'
        )
        return f'{type(self).__name__} of {count}, seed {self.seed}\n{self.dataset!r}'


class _HiddenLabels:
    """Pipeline that hides labels, and marks samples as unlabelled."""

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
    """Hide the label of a data info in place, unless the image keeps it; return the data info."""
    if not labelled[info['sample_idx']]:
        info.update(gt_label=-1, **{UNLABELLED: True})
        for name in ('gt_score', *OBJECT_ARRAYS):
            info.pop(name, None)
        info.update({name: [] for name in INSTANCES if name in info})
    return info
