"""Configs for data sets, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lfi.new_config import NewConfig, Settings, init_config

from .python_messages import python_messages


@python_messages
def init(
    data: str | Path,
    model: str | None = None,
    teacher: str = 'clip-b16',
    labels_per_class: int | None = None,
    *,
    unlabelled: str | Path | None = None,
    out: str | Path | None = None,
    concepts: str | Path | Sequence[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    input_size: int | None = None,
    weights: str | None = None,
    workers: int = 2,
) -> NewConfig:
    """Write a config that trains a student on a data set, as `lfi init` does.

    Args:
        data: folder of images (one subfolder for each class, or no labels); CSV or TSV of paths and labels;
            data set of YOLO, Pascal VOC or COCO JSON; images with PNG masks; or a data set of Hugging Face on
            disk.
        model: model of mmpretrain, timm, mmdet or mmseg, such as 'resnet50' or 'rtmdet_tiny'. Defaults to
            None: a small model for the task.
        teacher: name of a teacher in LFI's configs, MODEL:TAG of `lfi teachers`, or a folder with a model of
            open_clip. Defaults to 'clip-b16'.
        labels_per_class: number of images of each class that keep their label. Defaults to None: all.
        unlabelled: folder of images without labels to train on as well. Defaults to None.
        out: path of the config, a new .py file. Defaults to None: `lfi_<name of the data>.py`.
        concepts: texts, or a file with one a line: names of the classes in their order, or what images
            without labels may show. Defaults to None: the names of the data set, or of ImageNet.
        epochs: number of epochs. Defaults to None: by the number of images, or that of the model's config.
        batch_size: images of a step. Defaults to None: by the number of images, or as the model's config.
        input_size: side in pixels of the model's images. Defaults to None: by the size of the images.
        weights: initial weights of the backbone: a checkpoint, 'timm', or 'none'. Defaults to None: those of
            the model's own config.
        workers: processes that load images. Defaults to 2.

    Returns:
        The config's `path` and a description, which it prints as.

    Raises:
        UsageError: if the data cannot be read, the model or the teacher is unknown, the file exists, or the
            config cannot be built.

    Example:
        >>> new = lfi.init('photos', model='resnet18', teacher='lit-lite0')
        >>> model = lfi.train(new.path)
    """
    settings = Settings(epochs, batch_size, input_size, labels_per_class, unlabelled, weights, workers)
    return init_config(data, model, teacher, concepts, settings, out)
