"""The result of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from .maps_on_image import maps_on_image


@dataclass(frozen=True)
class InteractionResult:
    """The prediction for one image, and its answers to T texts. All tensors are on the CPU.

    Args:
        name: The file's path, or `inputs[i]` for an array.
        frame: The number of a video's frame from 0; None for an image.
        image: (H, W, 3) uint8, BGR, as it was loaded.
        prediction: The task's own: a `DataSample` with `pred_score` for a classifier, a `DetDataSample`
            with `pred_instances` in the loaded image's pixels for a detector.
        texts: The T texts; empty where none were asked.
        presence: (T,) float32 in [0, 1], whether the image shows each text, whatever else is asked.
        maps: (T, h, w) float32, the maps of the last supervised block: for each text probabilities over the
            locations that show the image, which sum to 1.
        view: (2, 3) float32, the affine map from the maps' coordinates to the image's, both from -1 to 1 over
            their full extent: the part of the image that the model saw.
    """

    name: str
    frame: int | None
    image: np.ndarray
    prediction: BaseDataElement
    texts: tuple[str, ...]
    presence: Tensor
    maps: Tensor
    view: Tensor

    def maps_on_image(self, size: tuple[int, int] | None = None) -> Tensor:
        """The maps resized bilinearly to the image.

        Args:
            size: Height and width of the result. Defaults to the image's own.

        Returns:
            (T, H, W); NaN where the model did not see the image.
        """
        return maps_on_image(self.maps, self.view, size or self.image.shape[:2])
