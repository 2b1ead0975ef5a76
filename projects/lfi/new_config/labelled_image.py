"""Images and labels of a data set, on the way from its files to a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Task = Literal[
    'classification',
    'multi-label classification',
    'object detection',
    'instance segmentation',
    'semantic segmentation',
    'pretraining',
]


class LabelledImage(NamedTuple):
    """An image file and its labels.

    Args:
        path: path of the file, relative to the root of the data set.
        classes: indices of the image's classes, each once. Defaults to ().
        objects: annotations of objects in the form of COCO, with `bbox` (x, y, width, height) in pixels,
            `iscrowd`, and `segmentation` where there are masks; `category` is the index of the class.
            Defaults to ().
        size: width and height in pixels. Defaults to None: not read yet.
        mask: path of the semantic mask, relative to the root. Defaults to None.
    """

    path: str
    classes: tuple[int, ...] = ()
    objects: tuple[Mapping[str, Any], ...] = ()
    size: tuple[int, int] | None = None
    mask: str | None = None


@dataclass(frozen=True)
class FoundData:
    """A data set that `lfi init` has found.

    Args:
        form: format of the data set for messages, such as 'class folders'.
        task: task of the labels.
        root: folder to which the paths of the images are relative.
        classes: names of the classes in the order of the labels. Empty without labels.
        train: images for training.
        val: images for validation. Empty if the data set has none.
        notes: sentences about files that were left out. Defaults to ().
        unlabelled: images without labels to train on as well, with a root of their own. Defaults to None.
    """

    form: str
    task: Task
    root: Path
    classes: tuple[str, ...]
    train: tuple[LabelledImage, ...]
    val: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    unlabelled: FoundData | None = None

    @property
    def images_per_epoch(self) -> int:
        """Number of images in an epoch: half of them have labels if there are images without."""
        if self.unlabelled is None:
            return len(self.train)
        return 2 * max(len(self.train), len(self.unlabelled.train))
