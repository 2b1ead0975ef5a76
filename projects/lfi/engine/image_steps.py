"""Steps of a test pipeline, for images from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lfi.utils.config_types import type_name

Step = dict[str, Any]


class ImageSteps(NamedTuple):
    """Configs of the steps of a test pipeline.

    Args:
        load: the step that reads the image.
        transforms: the steps that change the image.
        pack: the step that packs the model's input.
    """

    load: Step
    transforms: list[Step]
    pack: Step


def image_steps(pipeline: Sequence[Mapping[str, Any]], img_size: tuple[int, int] | None) -> ImageSteps:
    """Return the steps of a test pipeline that read, change and pack an image, without those for labels.

    A pipeline that sets no size, such as that of built-in data, gets a step that resizes images to the input
    size of the backbone. This step changes the aspect ratio only for classifiers.

    Args:
        pipeline: the test pipeline.
        img_size: input size of the backbone, height and width in pixels, or None.

    Raises:
        ValueError: if the number of steps that pack is not one.
    """
    steps = [dict(part) for step in pipeline for part in _steps_inside(step)]
    loaders = [step for step in steps if type_name(step).startswith('LoadImage')]
    packers = [step for step in steps if type_name(step).startswith('Pack')]
    if len(packers) != 1:
        raise ValueError(
            f'test_dataloader.dataset.pipeline must have one step that packs, got {len(packers)}: '
            f'{[type_name(step) for step in steps]}'
        )
    transforms = [step for step in steps if not type_name(step).startswith(('Load', 'Pack'))]
    if img_size is not None and not any(map(_sets_size, transforms)):
        keep_ratio = type_name(packers[0]) != 'PackInputs'
        transforms = [step for step in transforms if 'Resize' not in type_name(step)]
        transforms.insert(0, dict(type='Resize', scale=tuple(img_size[::-1]), keep_ratio=keep_ratio))
    return ImageSteps(loaders[0] if loaders else dict(type='LoadImageFromFile'), transforms, packers[0])


def _steps_inside(step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the steps inside `lfi.LoadRegions`, or any other step itself."""
    return step.get('transforms', ()) if type_name(step) == 'LoadRegions' else (step,)


def _sets_size(step: Mapping[str, Any]) -> bool:
    resizes = 'Resize' in type_name(step) and 'scale_factor' not in step
    return resizes or 'Crop' in type_name(step)
