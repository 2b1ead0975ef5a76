"""Test pipeline of a config, which turns an image into a model's input."""

from __future__ import annotations

import cv2
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import Tensor

from lfi.datasets.transforms import RecordView
from lfi.engine.image_steps import image_steps
from lfi.errors import UsageError
from lfi.utils.config_types import leaf_configs


class UnfitImageError(OSError):
    """Raised for a readable image that the test pipeline cannot process."""


class ImagePipeline:
    """Test pipeline of a config, for images without annotations; see `image_steps`.

    Args:
        cfg: The config.
        img_size: Input size of the backbone, height and width in pixels, or None.

    Raises:
        UsageError: If the config has no test pipeline.
        ValueError: If the number of steps that pack is not one, or `RecordView` cannot follow a step.
    """

    def __init__(self, cfg: Config, img_size: tuple[int, int] | None) -> None:
        if not cfg.get('test_dataloader'):
            raise UsageError(
                'test_dataloader is None or missing, and the pipeline of its data set prepares images: '
                'write one into the config'
            )
        dataset = next(leaf_configs(cfg.test_dataloader.dataset))
        load, self.steps, pack = image_steps(dataset['pipeline'], img_size)
        self.load = TRANSFORMS.build(load)
        self.record_view = RecordView(self.steps)
        self.pack = TRANSFORMS.build(pack)

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
