"""Head and pixel format of a student in timm's weights and config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lfi.models.batches.pixel_format import pixel_format_of


def add_head_and_pixels(
    student: nn.Module, weights: Mapping[str, Tensor], head: nn.Linear | None, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict]:
    """Add head and pixel format of a student to a backbone's weights and config, and return both.

    Args:
        student: model from `ExportedStudent.build`.
        weights: weights of the backbone, by timm's names.
        head: linear layer of the student, or None.
        config: config of timm without classes, mean and std.

    Raises:
        ValueError: if the student's images do not have three channels.
    """
    state, pretrained_cfg = dict(weights), config['pretrained_cfg']
    first = f'{pretrained_cfg["first_conv"]}.weight'
    num_channels = state[first].shape[1]
    if num_channels != 3:
        raise ValueError(f"timm's config needs RGB images; the student's images have {num_channels} channels")
    pixel_format = pixel_format_of(student.get_submodule('data_preprocessor'))
    channels = slice(None) if pixel_format.rgb else slice(None, None, -1)
    if not pixel_format.rgb:
        state[first] = state[first].flip(1)
    classes = dict(num_classes=0 if head is None else head.out_features)
    if head is not None:
        state.update({f'{pretrained_cfg["classifier"]}.{k}': value for k, value in head.state_dict().items()})
    mean, std = (
        [value / 255 for value in values[channels]] for values in (pixel_format.mean, pixel_format.std)
    )
    return state, {
        **config,
        **classes,
        'model_args': {**config['model_args'], **classes, 'global_pool': config['global_pool']},
        # The tag tells timm that the weights are not the architecture's published weights.
        'pretrained_cfg': {'tag': 'lfi', **pretrained_cfg, **classes, 'mean': mean, 'std': std},
    }
