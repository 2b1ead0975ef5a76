"""Pixel format of the output of an OpenMMLab data preprocessor."""

from __future__ import annotations

import torch

from lfi.errors import UsageError
from lfi.structures import PixelFormat


def pixel_format_of(data_preprocessor: torch.nn.Module) -> PixelFormat:
    """Return the pixel format of a data preprocessor's output. Images are loaded as BGR.

    Raises:
        UsageError: if the data preprocessor does not define its pixel format.
    """
    if not hasattr(data_preprocessor, '_enable_normalize'):
        raise UsageError(
            f'data_preprocessor.type={type(data_preprocessor).__name__!r} does not define its pixel format, '
            "which a teacher needs: use the task's own, or inherit from mmengine's ImgDataPreprocessor"
        )
    rgb = bool(
        getattr(data_preprocessor, 'to_rgb', False)
        or getattr(data_preprocessor, '_channel_conversion', False)
        # mmseg 1.2 names it without the underscore.
        or getattr(data_preprocessor, 'channel_conversion', False)
    )
    if not data_preprocessor._enable_normalize:
        return PixelFormat.raw(rgb)
    # One value may stand for all channels.
    mean, std = (getattr(data_preprocessor, name).flatten().expand(3).tolist() for name in ('mean', 'std'))
    return PixelFormat(tuple(mean), tuple(std), rgb)
