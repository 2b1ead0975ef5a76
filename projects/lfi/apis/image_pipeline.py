"""Test pipeline of a config, which turns an image into a model's input."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import Tensor

from lfi.datasets.transforms import RecordView
from lfi.utils.config_types import leaf_configs, type_name


class UnfitImageError(OSError):
    """Raised for a readable image that the test pipeline cannot process."""


class ImagePipeline:
    """Test pipeline of a config, for images without annotations.

    A pipeline that sets no size, such as that of built-in data, gets a step that resizes images to the input
    size of the backbone. This step changes the aspect ratio only for classifiers.

    Args:
        cfg: The config.
        img_size: Input size of the backbone, height and width in pixels, or None.

    Raises:
        ValueError: If the number of steps that pack is not one, or `RecordView` cannot follow a step.
    """

    def __init__(self, cfg: Config, img_size: tuple[int, int] | None) -> None:
        dataset = next(leaf_configs(cfg.test_dataloader.dataset))
        steps = [dict(part) for step in dataset['pipeline'] for part in _steps_inside(step)]
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
        self.steps = transforms
        self.load = TRANSFORMS.build(loaders[0] if loaders else dict(type='LoadImageFromFile'))
        self.record_view = RecordView(transforms)
        self.pack = TRANSFORMS.build(packers[0])

    def __call__(self, results: dict) -> tuple[dict, Tensor]:
        """Prepare a loaded image.

        Args:
            results: Output of `LoadImageFromFile`.

        Returns:
            The packed input; and its view of the image, (2, 3), see `RecordView`.

        Raises:
            UnfitImageError: If a step cannot process the image: `Resize` fails on very thin images.
        """
        height, width = results['img'].shape[:2]
        try:
            results = self.record_view(results)
        except cv2.error as error:
            raise UnfitImageError(
                f'{results.get("img_path", "an image")}: the test pipeline cannot take an image of {width} x '
                f'{height} pixels ({str(error).splitlines()[0]})'
            ) from error
        return self.pack(results), results['view']


def _steps_inside(step: dict) -> Sequence[dict]:
    """Return the steps inside `lfi.LoadRegions`, or any other step itself."""
    return step.get('transforms', ()) if type_name(step) == 'LoadRegions' else (step,)


def _sets_size(step: dict) -> bool:
    resizes = 'Resize' in type_name(step) and 'scale_factor' not in step
    return resizes or 'Crop' in type_name(step)
