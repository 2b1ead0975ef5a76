"""Settings of a training that `lfi init` can choose, and their defaults by the size of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lfi.errors import UsageError
from lfi.utils.folders import image_names

from .labelled_image import FoundData

DESIGN_SIZE = 224
"""Side in pixels of the images that classifiers are designed for."""
IMAGENET_MEAN, IMAGENET_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Args:
        epochs: number of epochs. None: the number of the model's own config, or by the number of images.
        batch_size: images of a step. None: that of the model's own config, or by the number of images.
        input_size: side in pixels of the model's images. None: by the size of the images.
        labels_per_class: number of images of each class that keep their label. None: all.
        unlabelled: folder of images without labels to train on as well. None: none.
        weights: checkpoint of the backbone; 'none' for random weights. None: those of the model's own
            config.
        workers: processes that load images. Defaults to 2.
        labelled: for a pretraining, folder with one subfolder a class, on which the backbone is evaluated
            every ten epochs. None: no evaluation.
    """

    epochs: int | None = None
    batch_size: int | None = None
    input_size: int | None = None
    labels_per_class: int | None = None
    unlabelled: str | Path | None = None
    weights: str | None = None
    workers: int = 2
    labelled: str | None = None

    def __post_init__(self) -> None:
        for name in ('epochs', 'batch_size', 'input_size', 'labels_per_class'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f'--{name.replace("_", "-")} {value} must be at least 1')
        if self.workers < 0:
            raise UsageError(f'--workers {self.workers} must be at least 0')
        if self.unlabelled == '':
            raise UsageError("--unlabelled '' is empty: name a folder, or leave it out")
        if self.unlabelled is not None and self.labels_per_class is not None:
            raise UsageError(
                f'--unlabelled {self.unlabelled} and --labels-per-class {self.labels_per_class} exclude each '
                'other: the first adds images without labels, the second hides labels. Leave one out'
            )
        if self.labelled is not None:
            check_labelled(self.labelled)


def check_labelled(folder: str) -> None:
    """Check that a folder of `--labelled` has one subfolder with images for each of several classes.

    Raises:
        UsageError: if it does not.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f'--labelled {folder} is not a folder')
    classes = {Path(name).parts[0] for name in image_names(path) if len(Path(name).parts) > 1}
    if len(classes) < 2:
        raise UsageError(
            f'--labelled {folder} has {len(classes)} folders with images, and needs one for each class, '
            'two or more'
        )


def default_epochs(num_images: int) -> int:
    """Return the number of epochs for images without a schedule of their own: fewer for more images."""
    return 100 if num_images < 20_000 else 50 if num_images < 200_000 else 30


def default_batch_size(num_images: int) -> int:
    """Return the number of images of a step: 16 to 128, so that an epoch has some 60 steps or more."""
    sizes = (16, 32, 64, 128)
    return next((size for size in sizes if num_images < 60 * 2 * size), sizes[-1])


def typical_size(data: FoundData) -> tuple[int, int]:
    """Return the median width and height of the training images."""
    sizes = [image.size for image in data.train if image.size]
    return round(median(width for width, _ in sizes)), round(median(height for _, height in sizes))


def default_input_size(size: tuple[int, int]) -> int:
    """Return the side of a classifier's images for a typical width and height.

    The images' shorter side, in multiples of 32, from 64 to 224.
    """
    return min(DESIGN_SIZE, max(64, min(size) // 32 * 32))
