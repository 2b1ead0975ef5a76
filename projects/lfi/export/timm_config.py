"""What timm's weights and config hold of any student: its head and its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lfi.models.batches.pixel_format import pixel_format


def with_head_and_pixels(
    student: nn.Module, weights: Mapping[str, Tensor], head: nn.Linear | None, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict]:
    """Complete the weights and the config of a backbone; the result is `to_timm`'s.

    Args:
        student: As for `to_timm`.
        weights: Those of the backbone, by timm's names.
        head: The student's linear layer, or None.
        config: Timm's, without what follows from the head and the data preprocessor.

    Raises:
        ValueError: If the student does not see three channels.
    """
    state, published = dict(weights), config['pretrained_cfg']
    first = f'{published["first_conv"]}.weight'
    seen = state[first].shape[1]
    if seen != 3:
        raise ValueError(f"timm's config is of RGB images, and the student sees {seen} channels")
    pixels = pixel_format(student.get_submodule('data_preprocessor'))
    channels = slice(None) if pixels.rgb else slice(None, None, -1)
    if not pixels.rgb:
        state[first] = state[first].flip(1)
    classes = dict(num_classes=0 if head is None else head.out_features)
    if head is not None:
        state.update({f'{published["classifier"]}.{k}': value for k, value in head.state_dict().items()})
    mean, std = ([value / 255 for value in values[channels]] for values in (pixels.mean, pixels.std))
    return state, {
        **config,
        **classes,
        'model_args': {**config['model_args'], **classes, 'global_pool': config['global_pool']},
        # The weights are the student's own, not published ones of the architecture's name.
        'pretrained_cfg': {'tag': 'lfi', **published, **classes, 'mean': mean, 'std': std},
    }
