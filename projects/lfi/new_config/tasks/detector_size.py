"""Check that a detector takes images of a size."""

from __future__ import annotations

import math

import torch
from torch import nn

from lfi.errors import UsageError
from lfi.utils.modules import eval_mode

from .image_size import MULTIPLE

USUAL_SIDE = 640
"""Side in pixels of an image that detectors take."""


def check_detector_size(model: nn.Module, side: int, image: tuple[int, int], name: str) -> None:
    """Check that a detector predicts for an image of a size.

    SSD300's layers of strides up to 100 pixels, and DINO's 900 queries, need images of some size.

    Args:
        model: detector of mmdet, which is left unchanged.
        side: longer side in pixels that images are resized to.
        image: typical width and height of the images.
        name: name of the model in messages.

    Raises:
        UsageError: if it raises an error, and not the same one for an image of `USUAL_SIDE` pixels.
    """
    width, height = (math.ceil(side * length / max(image) / MULTIPLE) * MULTIPLE for length in image)
    reason = _refusal(model, height, width)
    # An error at any size is none of the size: SSD's head of mmdet 3.3 lacks the `loss_cls` that it reads.
    if reason is not None and reason != _refusal(model, USUAL_SIDE, USUAL_SIDE):
        raise UsageError(
            f'--input-size {side}: {name} takes no images of {width} x {height} pixels ({reason}): give a '
            'larger size, or another model'
        )


def _refusal(model: nn.Module, height: int, width: int) -> str | None:
    """Return the error of a detector at an image, or None if it takes it."""
    from mmdet.structures import DetDataSample

    shape = (height, width)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=shape,
            ori_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        )
    )
    try:
        with eval_mode(model), torch.no_grad():
            model(torch.zeros(1, 3, *shape), [sample], mode='predict')
    # Detectors raise errors of any type at images of another size.
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None
