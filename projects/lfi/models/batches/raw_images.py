"""What is known of images only before a data preprocessor pads and normalises them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from .mixtures import mixes_as_known, record_mixtures

# The largest value of a batch of images that is not normalised is far above, but for dark images.
DARK = 16.0
# mmdet's PhotoMetricDistortion leaves values from -48 on; an image less its mean goes down to -100 and below.
DARKENED = -64.0


def check_images(data_preprocessor: nn.Module, cache: str | None) -> None:
    """Let a teacher see the images that it takes a batch for, and tell how they were mixed.

    Args:
        data_preprocessor: of the student.
        cache: folder of the teacher's cache; None for a teacher that is asked online.

    Raises:
        ValueError: if images are mixed while there is a cache, and not as `record_mixtures` knows it.
    """
    if cache is None:
        refuse_normalized_images(data_preprocessor)
    if cache is not None or mixes_as_known(data_preprocessor):
        record_mixtures(data_preprocessor)


def correct_image_sizes(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor give every image the `img_shape` that it has, before it pads it.

    Some transforms leave an `img_shape` of before, torchvision's (`NumpyToPIL`, `PILToNumpy`) among them:
    what lies beyond it would count as padding. The tensor's own height and width are right, unless the
    pipeline pads itself, which the tools refuse (`check_pipelines`).
    """
    # First of all: what others make for an image must have its size.
    data_preprocessor.register_forward_pre_hook(_ImageSizes(), with_kwargs=True, prepend=True)


def refuse_normalized_images(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor raise a ValueError if its first images are normalised already.

    Dark images that may be the file's own, whole numbers up to 16, are let through, and the next ones tell.

    A teacher would see them as near-black: it knows how the data preprocessor makes pixels, and not what the
    pipeline has done to them.
    """
    data_preprocessor.register_forward_pre_hook(_FirstImages(), with_kwargs=True)


class _ImageSizes:
    """Corrects the samples' sizes, and says so once."""

    def __init__(self) -> None:
        self.said = False

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        for image, sample in _images(arguments, named):
            shape = tuple(image.shape[-2:])
            said = sample.metainfo.get('img_shape')
            if said is not None and tuple(said[:2]) == shape:
                continue
            sample.set_metainfo({'img_shape': shape})
            if said is not None and not self.said:
                self.said = True
                print_log(
                    f'{getattr(sample, "img_path", "an image")}: the pipeline says img_shape='
                    f'{tuple(said[:2])}, but the image has {shape} pixels. The image is taken for right: a '
                    'transform does not keep img_shape up to date',
                    'current',
                )


class _FirstImages:
    """Checks the first batches, which are still on the CPU, until one tells."""

    def __init__(self) -> None:
        self.checked = False

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        if self.checked:
            return
        images = [image for image, _ in _images(arguments, named)]
        if not any(image.is_floating_point() for image in images):
            self.checked = bool(images)
            return
        low, high = (min(image.min().item() for image in images), max(image.max().item() for image in images))
        dark = max(-low, high) <= DARK
        # A dark image file has whole numbers from 0 on.
        normalized = dark and (low < 0 or any((image != image.round()).any() for image in images))
        if normalized or low < DARKENED:
            raise ValueError(
                f'the data preprocessor gets pixels from {low:.3g} to {high:.3g}, but an online teacher '
                'needs those of the image file, from 0 to 255: a step of the pipeline, such as Normalize or '
                'ToTensor, has changed them. Remove it, and give its mean and std to data_preprocessor'
            )
        self.checked = not dark


def _images(arguments: tuple, named: dict[str, Any]) -> Iterator[tuple[Tensor, Any]]:
    """Each image and sample of what a data preprocessor is called with; none where it has another form."""
    data = arguments[0] if arguments else named.get('data')
    if not isinstance(data, dict):
        return
    inputs, samples = data.get('inputs'), data.get('data_samples')
    if not isinstance(inputs, Tensor | Sequence) or not isinstance(samples, Sequence):
        return
    for image, sample in zip(inputs, samples):
        if isinstance(image, Tensor) and hasattr(sample, 'set_metainfo'):
            yield image, sample
