"""Image sizes of a model's own pipelines, scaled to another size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lfi.engine.pipelines import HOOK_PIPELINE
from lfi.errors import UsageError

SIZE_OPTIONS = ('scale', 'scales', 'img_scale', 'crop_size', 'size')
MULTIPLE = 32


def scale_pipelines(cfg: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the variables that scale all image sizes of a detector's pipelines.

    Args:
        cfg: config of a detector.
        size: longer side of a test image in pixels. Sizes of the training pipelines are scaled alike, and
            rounded to multiples of 32.

    Raises:
        UsageError: if no test image is resized to a size.
    """
    factor = size / _longest_side(cfg)
    variables: dict[str, Any] = {
        name: {'dataset': _scaled_dataset(cfg[name]['dataset'], factor)}
        for name in ('train_dataloader', 'val_dataloader')
    }
    hooks = [dict(hook) for hook in cfg.get('custom_hooks') or ()]
    if any(HOOK_PIPELINE in hook for hook in hooks):
        variables['custom_hooks'] = [
            {**hook, HOOK_PIPELINE: scaled_sizes(hook[HOOK_PIPELINE], factor)}
            if HOOK_PIPELINE in hook
            else hook
            for hook in hooks
        ]
    return variables


def scaled_sizes(value: Any, factor: float, is_size: bool = False) -> Any:
    """Return a part of a config with its image sizes scaled, and rounded to multiples of 32."""
    if isinstance(value, Mapping):
        return {key: scaled_sizes(item, factor, key in SIZE_OPTIONS) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(scaled_sizes(item, factor, is_size) for item in value)
    if is_size and isinstance(value, int) and not isinstance(value, bool):
        return max(MULTIPLE, round(factor * value / MULTIPLE) * MULTIPLE)
    return value


def _longest_side(cfg: Mapping[str, Any]) -> int:
    dataset = cfg['val_dataloader']['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    sides = [
        side
        for step in dataset['pipeline']
        for side in (step.get('scale') if isinstance(step.get('scale'), Sequence) else ())
    ]
    if not sides:
        raise UsageError('--input-size: the test pipeline of the model has no size to scale: leave it out')
    return max(sides)


def _scaled_dataset(dataset: Mapping[str, Any], factor: float) -> dict[str, Any]:
    scaled: dict[str, Any] = {}
    if dataset.get('pipeline'):
        scaled['pipeline'] = scaled_sizes(dataset['pipeline'], factor)
    if 'dataset' in dataset:
        scaled['dataset'] = _scaled_dataset(dataset['dataset'], factor)
    return scaled
