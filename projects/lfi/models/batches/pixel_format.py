"""How an OpenMMLab data preprocessor makes its pixels."""

from __future__ import annotations

import torch

from lfi.errors import UsageError
from lfi.structures import PixelFormat


def pixel_format(data_preprocessor: torch.nn.Module) -> PixelFormat:
    """How an OpenMMLab data preprocessor makes its pixels; images are loaded as BGR.

    Raises:
        UsageError: If it is of a type that does not say.
    """
    if not hasattr(data_preprocessor, '_enable_normalize'):
        raise UsageError(
            f'data_preprocessor.type={type(data_preprocessor).__name__!r} does not say how it makes pixels, '
            "which a teacher must know: take the task's own, or inherit from mmengine's ImgDataPreprocessor"
        )
    rgb = bool(
        getattr(data_preprocessor, 'to_rgb', False)
        or getattr(data_preprocessor, '_channel_conversion', False)
        # mmseg 1.2 has its own.
        or getattr(data_preprocessor, 'channel_conversion', False)
    )
    if not data_preprocessor._enable_normalize:
        return PixelFormat.raw(rgb)
    # One value stands for all channels.
    mean, std = (getattr(data_preprocessor, name).flatten().expand(3).tolist() for name in ('mean', 'std'))
    return PixelFormat(tuple(mean), tuple(std), rgb)
