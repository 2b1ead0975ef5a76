"""What the data preprocessor must pad where the pipelines did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from lfi.config_types import type_name
from lfi.engine.pipelines import LOADERS, switched_pipelines
from lfi.errors import UsageError
from lfi.models.batches.samples import pixel_format

from .data_changes import DataChanges
from .pipelines import PADS, Pipeline, pipelines_of


class Padding(NamedTuple):
    """How a step of a pipeline pads images.

    Args:
        divisor: to multiples of how many pixels; None where the step does not say.
        size: to which width and height; None where the step does not say.
        value: what with, before they are normalised: a value for all channels, or one for each.
    """

    divisor: int | None
    size: Sequence[int] | None
    value: tuple[float, ...]


def paddings(pipeline: Pipeline) -> list[Padding]:
    """How the steps of a pipeline pad, of those that do."""
    steps = [step for step in pipeline if type_name(step) in PADS]
    return [Padding(step.get('size_divisor'), step.get('size'), _value_of(step)) for step in steps]


def note_padding(found: DataChanges, cfg: Config, preprocessor: nn.Module, one_size: bool) -> None:
    """Note how far the pipelines of a config padded, and with what.

    Args:
        found: what the overlay says of the data; it is changed.
        cfg: of the task.
        preprocessor: the data preprocessor of the task's model.
        one_size: whether all images must come out as large as the pipelines padded them.

    Raises:
        UsageError: if images of one size are padded to no square.
    """
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    datasets = [cfg[name].dataset.to_dict() for name in LOADERS if (cfg.get(name) or {}).get('dataset')]
    steps = [step for pipeline in (*switched_pipelines(hooks), *pipelines_of(datasets)) for step in pipeline]
    padded = paddings(steps)
    if not padded:
        return
    divisors = [padding.divisor for padding in padded if padding.divisor]
    if one_size:
        divisors += _one_size(padded)
        for name in LOADERS:
            if cfg.get(name):
                # The data preprocessor makes a batch of images of several sizes.
                found.variables.setdefault(name, {})['collate_fn'] = {'type': 'pseudo_collate'}
    found.divisor = math.lcm(2, *divisors)
    found.pad_value = _pad_value(padded[-1].value, preprocessor)
    found.words.append(
        (
            'padding',
            'the pipelines pad no more, and the data preprocessor does: it says what of a batch is '
            'image. Where a pipeline padded further, predictions near the edge differ a little',
        )
    )


def _value_of(step: Mapping) -> tuple[float, ...]:
    value = step.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, Mapping) else value
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _one_size(padded: Sequence[Padding]) -> list[int]:
    """The side of the square to which pipelines pad, where they say a size.

    Raises:
        UsageError: if they pad to another size, which no data preprocessor does.
    """
    sizes = {(width, height) for width, height in (padding.size for padding in padded if padding.size)}
    if any(width != height for width, height in sizes) or len(sizes) > 1:
        raise UsageError(
            f'the pipelines pad to size={" and ".join(map(str, sorted(sizes)))}, and the data preprocessor, '
            'which must do it for them, to squares of one size: pad to one'
        )
    return [side for side, _ in sizes]


def _pad_value(value: tuple[float, ...], preprocessor: Any) -> float | None:
    """The value of a pipeline's padding as a data preprocessor pads, which has normalised before.

    It pads all channels with one value: the mean over those of the pipeline. None where it does so already,
    to a twentieth of a standard deviation.
    """
    form = pixel_format(preprocessor)
    channels = value if len(value) == 3 else value * 3
    normalised = [(each - mean) / std for each, mean, std in zip(channels, form.mean, form.std)]
    found = round(sum(normalised) / 3, 2)
    return None if abs(found - getattr(preprocessor, 'pad_value', found)) < 0.05 else found
