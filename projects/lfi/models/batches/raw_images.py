"""Checks of images and of their sizes before a data preprocessor pads and normalises them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from .mixtures import record_known_mixtures, record_mixtures

# Normalised or dark images have absolute values up to this bound. Other raw images have larger values.
DARK = 16.0
# Lower bound of raw images: mmdet's PhotoMetricDistortion gives -48, subtraction of a mean -100 or less.
DARKENED = -64.0


def register_image_checks(data_preprocessor: nn.Module, cache: str | None) -> None:
    """Register the checks of images that a teacher needs, and record how images are mixed.

    Batch augments that a hook such as mmpretrain's `SwitchRecipeHook` sets during training are recorded too.

    Args:
        data_preprocessor: data preprocessor of the student.
        cache: folder of the teacher's cache. None for a teacher that is asked online.

    Raises:
        ValueError: if there is a cache, and images are mixed in a way that `record_mixtures` refuses.
    """
    if cache is None:
        refuse_normalized_images(data_preprocessor)
    # An online teacher sees the mixed image, whatever has mixed it.
    record = record_known_mixtures if cache is None else record_mixtures
    record(data_preprocessor)
    data_preprocessor.register_forward_pre_hook(_Recording(record))


def correct_image_sizes(data_preprocessor: nn.Module) -> None:
    """Set each sample's `img_shape` to the size of its image before a data preprocessor pads the batch.

    Some transforms do not update `img_shape`, such as torchvision's (`NumpyToPIL`, `PILToNumpy`), and pixels
    outside it would count as padding. The tensor's height and width are right, unless the pipeline pads
    images; the tools refuse such a pipeline (`check_pipelines`).
    """
    # Runs before all other hooks, which may read `img_shape`.
    data_preprocessor.register_forward_pre_hook(_ImageSizes(), with_kwargs=True, prepend=True)


def refuse_normalized_images(data_preprocessor: nn.Module) -> None:
    """Make a data preprocessor raise a ValueError if the first images are normalised already.

    An online teacher would see such images as near-black, since it undoes only the data preprocessor's own
    normalisation. A batch of whole numbers up to 16 may be raw and dark: it passes, and the next batch is
    checked.
    """
    data_preprocessor.register_forward_pre_hook(_FirstImages(), with_kwargs=True)


class _ImageSizes:
    """Hook that corrects the samples' `img_shape`, and logs the first correction."""

    def __init__(self) -> None:
        self.logged = False

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> None:
        for image, sample in _images(arguments, kwargs):
            shape = tuple(image.shape[-2:])
            img_shape = sample.metainfo.get('img_shape')
            if img_shape is not None and tuple(img_shape[:2]) == shape:
                continue
            sample.set_metainfo({'img_shape': shape})
            if img_shape is not None and not self.logged:
                self.logged = True
                print_log(
                    f'{getattr(sample, "img_path", "an image")}: the pipeline says img_shape='
                    f'{tuple(img_shape[:2])}, but the image has {shape} pixels. The size of the image is '
                    'used: a transform does not keep img_shape up to date',
                    'current',
                )


class _Recording:
    """Hook that calls a function which records mixtures, before the data preprocessor mixes a batch."""

    def __init__(self, record: Callable[[nn.Module], None]) -> None:
        self.record = record

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple) -> None:
        self.record(data_preprocessor)


class _FirstImages:
    """Hook that checks the first batches, which are still on the CPU, until one is certain to be raw."""

    def __init__(self) -> None:
        self.checked = False

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> None:
        if self.checked:
            return
        images = [image for image, _ in _images(arguments, kwargs)]
        if not any(image.is_floating_point() for image in images):
            self.checked = bool(images)
            return
        low, high = (min(image.min().item() for image in images), max(image.max().item() for image in images))
        dark = max(-low, high) <= DARK
        # Raw dark images have whole numbers of 0 or more.
        normalized = dark and (low < 0 or any((image != image.round()).any() for image in images))
        if normalized or low < DARKENED:
            raise ValueError(
                f'the data preprocessor gets pixels from {low:.3g} to {high:.3g}, but an online teacher '
                'needs those of the image file, from 0 to 255: a step of the pipeline, such as Normalize or '
                'ToTensor, changes them. Remove it, and give its mean and std to data_preprocessor'
            )
        self.checked = not dark


def _images(arguments: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[Tensor, Any]]:
    """Yield the images and samples of a data preprocessor's arguments; nothing for other formats."""
    data = arguments[0] if arguments else kwargs.get('data')
    if not isinstance(data, dict):
        return
    inputs, samples = data.get('inputs'), data.get('data_samples')
    if not isinstance(inputs, Tensor | Sequence) or not isinstance(samples, Sequence):
        return
    for image, sample in zip(inputs, samples):
        if isinstance(image, Tensor) and hasattr(sample, 'set_metainfo'):
            yield image, sample
