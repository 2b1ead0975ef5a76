"""Result of one image: prediction, presence and maps, in pixels of the image and as a record for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor

from lfi.concepts.names import class_name
from lfi.structures import InteractionMaps


@dataclass(frozen=True)
class InteractionResult:
    """Prediction for one image, with presence and maps of T texts. All tensors are on the CPU.

    Args:
        name: Path of the file, or `inputs[i]` for an array.
        frame: Number of the video frame, from 0; None for an image.
        image: (H, W, 3) uint8, BGR, as loaded.
        prediction: Prediction of the task: a `DataSample` with `pred_score` for a classifier, a
            `DetDataSample` with `pred_instances` in pixels of the loaded image for a detector.
        texts: The T texts; empty if no texts were asked for.
        presence: (T,) float32 in [0, 1], whether the image shows each text, independent of the other texts.
        maps: (T, h, w) float32, maps of the last supervised block: probabilities of each text over the
            locations that show the image, which sum to 1.
        view: (2, 3) float32, affine map from map coordinates to image coordinates, both from -1 to 1 over
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
        """Resize the maps bilinearly to the image.

        Args:
            size: Height and width of the result in pixels. Defaults to None: the image's own.

        Returns:
            (T, H, W); NaN where the model did not see the image.
        """
        return maps_on_image(self.maps, self.view, size or self.image.shape[:2])


def maps_on_image(maps: Tensor, view: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly to an image.

    Args:
        maps: (T, h, w).
        view: (2, 3), affine map from map coordinates to image coordinates, both from -1 to 1 over their full
            extent.
        size: Height and width of the result in pixels.

    Returns:
        (T, H, W); NaN where the maps do not reach.
    """
    square = torch.cat((view, view.new_tensor([[0, 0, 1]])))
    grid = F.affine_grid(square.inverse()[None, :2], [1, 1, *size], align_corners=False)
    heat = F.grid_sample(maps[None], grid, padding_mode='border', align_corners=False)[0]
    return heat.masked_fill((grid[0].abs() > 1).any(-1), float('nan'))


def crop_maps(
    maps: InteractionMaps, index: int, canvas: tuple[int, int], size: tuple[int, int], view: Tensor
) -> tuple[Tensor, Tensor]:
    """Crop an image's maps of the last layer to the locations that show the image.

    Args:
        maps: Maps of the batch.
        index: Index of the image in the batch.
        canvas: Height and width in pixels that the patches cover, see `StudentGrid.canvas`.
        size: Height and width in pixels of the image in the batch, at its top left.
        view: (2, 3), affine map from coordinates of the image in the batch to the image in its file.

    Returns:
        Probabilities (T, h, w); and their view, from map coordinates to the image in its file.
    """
    valid = maps.valid[index]
    h, w = int(valid.any(1).sum()), int(valid.any(0).sum())
    heat = maps.spatial_log_probs()[index, -1, :, :h, :w].exp()
    # The last location may end beyond the image, or before its edge.
    reach_y, reach_x = (
        cells * pixels / (side * total) for cells, pixels, side, total in zip((h, w), canvas, maps.grid, size)
    )
    crop = view.new_tensor([[reach_x, 0, reach_x - 1], [0, reach_y, reach_y - 1], [0, 0, 1]])
    return heat, view @ crop


# Number of classes in a classifier's record.
TOP = 5


def result_record(result: InteractionResult, classes: Sequence[str]) -> dict:
    """Return a result as plain data for JSON, without image and maps.

    Args:
        result: Result of an image.
        classes: Class names, by label.

    Returns:
        `image`, the name; `frame` for a video; `size`, height and width in pixels; for a classifier
        `classes`, the 5 best with their probabilities; for a detector `objects` with their boxes
        [x1, y1, x2, y2] in pixels; for a segmentor `areas`, each class's share of the image, the largest
        first; and `texts`, the presence of each text in [0, 1], if texts were asked for. Scores have 4
        decimals, pixels one.
    """
    record: dict = {'image': result.name}
    if result.frame is not None:
        record['frame'] = result.frame
    record['size'] = list(result.image.shape[:2])
    record |= _prediction(result.prediction, classes)
    if result.texts:
        presence = result.presence.tolist()
        record['texts'] = {text: round(value, 4) for text, value in zip(result.texts, presence)}
    return record


def _prediction(prediction: BaseDataElement, classes: Sequence[str]) -> dict:
    if 'pred_instances' in prediction:
        instances = prediction.pred_instances
        columns = (instances.labels.tolist(), instances.scores.tolist(), instances.bboxes.tolist())
        return {
            'objects': [
                {
                    'class': class_name(classes, label),
                    'score': round(score, 4),
                    'box': [round(side, 1) for side in box],
                }
                for label, score, box in zip(*columns)
            ]
        }
    if 'pred_score' in prediction:
        best = prediction.pred_score.topk(min(TOP, len(prediction.pred_score)))
        return {
            'classes': [
                {'class': class_name(classes, label), 'score': round(score, 4)}
                for label, score in zip(best.indices.tolist(), best.values.tolist())
            ]
        }
    if 'pred_sem_seg' in prediction:
        labels, counts = prediction.pred_sem_seg.data.unique(return_counts=True)
        shares = counts / counts.sum()
        return {
            'areas': [
                {'class': class_name(classes, int(labels[i])), 'share': round(float(shares[i]), 4)}
                for i in shares.argsort(descending=True, stable=True)
            ]
        }
    return {}
