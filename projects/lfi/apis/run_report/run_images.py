"""Images of a run's data with their annotations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import BaseDataElement

from lfi.apis.truth import IGNORED, Truth
from lfi.concepts.concept_check_hook import classes_of
from lfi.concepts.names import plain_name

LOADERS = {'val': 'validation', 'test': 'test', 'train': 'training'}
"""Data loaders, the preferred first, with the name of their images."""


@dataclass(frozen=True)
class RunImages:
    """Data set of a run.

    Args:
        kind: 'validation', 'test' or 'training'.
        dataset: data set of OpenMMLab.
        batch_size: batch size of its loader.
    """

    kind: str
    dataset: Any
    batch_size: int

    def sample(self, count: int) -> list[int]:
        """Choose images by a fixed seed: `count` indices in a random order, or all if there are no more."""
        total = len(self.dataset)
        return random.Random(0).sample(range(total), min(count, total))

    def image(self, index: int) -> str | np.ndarray:
        """Return the file of an image, or its pixels (H, W, 3) uint8 BGR if the data set makes them.

        Raises:
            ValueError: if the data set gives neither.
        """
        info = self.dataset.get_data_info(index)
        image = info.get('img', info.get('img_path'))
        if not isinstance(image, str | np.ndarray):
            raise ValueError(f'{type(self.dataset).__name__} gives neither img nor img_path')
        return image

    def name(self, index: int) -> str:
        """Return the name of an image's file without its folder."""
        return Path(str(self.dataset.get_data_info(index).get('img_path') or index)).name

    def truth(self, index: int, prediction: BaseDataElement) -> Truth:
        """Return what the annotations say of an image, in the form of a prediction; empty if nothing."""
        info = self.dataset.get_data_info(index)
        if 'pred_instances' in prediction and 'instances' in info:
            objects = [found for found in info['instances'] if not found.get('ignore_flag')]
            boxes = np.array([found['bbox'] for found in objects], np.float32).reshape(-1, 4)
            return Truth(tuple(int(found['bbox_label']) for found in objects), boxes)
        if 'pred_sem_seg' in prediction and 'seg_map_path' in info:
            labels = self.dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()
            known = np.unique(labels[labels != IGNORED], return_counts=True)
            # The largest class first.
            order = np.argsort(-known[1], kind='stable')
            return Truth(tuple(known[0][order].tolist()), segmentation=labels)
        if 'pred_score' in prediction and 'gt_label' in info:
            return Truth(tuple(label for label in np.atleast_1d(info['gt_label']).tolist() if label >= 0))
        return Truth(())


def run_images(config: Config, classes: Sequence[str]) -> RunImages:
    """Build the validation data of a run; without it the test data, or else the training data.

    Streams, and data of other classes that a config inherits, are left out.

    Args:
        config: config of the run.
        classes: class names that its model was trained on; empty if it has none.

    Raises:
        ValueError: if the config has no such data.
    """
    for name, kind in LOADERS.items():
        loader = config.get(f'{name}_dataloader')
        if loader:
            with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmengine')):
                dataset = DATASETS.build(loader.dataset)
                if not hasattr(dataset, 'get_data_info'):
                    continue
                dataset.full_init()
            own = classes_of(dataset)
            if not own or not classes or list(map(plain_name, own)) == list(map(plain_name, classes)):
                return RunImages(kind, dataset, loader.get('batch_size') or 1)
    raise ValueError("the config has no data loader of single images with the model's classes")
