"""Matplotlib figures of interaction maps."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.structures import InstanceData
from torch import Tensor

from lfi.concepts.names import class_name
from lfi.structures import InteractionMaps
from lfi.utils.matplotlib_settings import default_style

from .fonts import set_fonts
from .map_drawing import draw_map, presence_words

# Lowest score of a drawn detection, as in the visualization hook of mmdet.
MIN_SCORE = 0.3


def draw_interactions(
    axes: np.ndarray,
    images: np.ndarray,
    teacher: InteractionMaps,
    student: InteractionMaps,
    names: Sequence[str],
    concepts: Sequence[int],
) -> None:
    """Draw images beside the teacher's and the student's map of one concept, each titled with its presence.

    Args:
        axes: (B, 3) matplotlib axes.
        images: (B, H, W, 3) uint8, RGB.
        teacher: text→image maps from the teacher for the B images. The last layer is drawn.
        student: text→image maps from the student for the B images. The last layer is drawn.
        names: names of the concepts of the bank.
        concepts: index m of the drawn concept among the maps, for each image.
    """
    rows = zip(axes, images, concepts, _last_layer(teacher), _last_layer(student))
    for b, (row, image, m, *heats) in enumerate(rows):
        index = m if teacher.concepts is None else int(teacher.concepts[b, m])
        _draw_image(row[0], image, names[index])
        for cell, heat, maps, title in zip(row[1:], heats, (teacher, student), ('teacher', 'student')):
            _draw_heat(cell, image, heat[m], title, float(maps.presence[b, m]))


def draw_answers(
    axes: np.ndarray, images: np.ndarray, answers: InteractionMaps, titles: Sequence[str]
) -> None:
    """Draw images beside the student's maps of the concepts that it was asked about.

    Args:
        axes: (B, 1 + M) matplotlib axes.
        images: (B, H, W, 3) uint8, RGB.
        answers: maps of M concepts for the B images. The last layer is drawn.
        titles: titles of the M maps. The presence stands below.
    """
    for row, image, heats, presence in zip(axes, images, _last_layer(answers), answers.presence):
        _draw_image(row[0], image, 'asked about')
        for cell, heat, value, title in zip(row[1:], heats, presence, titles):
            _draw_heat(cell, image, heat, title, float(value))


def draw_boxes(axes: Axes, boxes: np.ndarray, titles: Sequence[str]) -> None:
    """Draw boxes with titles into a picture; boxes are (N, 4), x1 y1 x2 y2 in pixels."""
    for (x1, y1, x2, y2), title in zip(boxes, titles):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color='white', linewidth=1))
        style: dict = dict(fontsize=5, color='white', backgroundcolor='black', va='bottom', parse_math=False)
        axes.text(x1, y1, title, **style)


def draw_detections(
    axes: Axes, predictions: InstanceData, classes: Sequence[str], scale: Sequence[float] = (1, 1)
) -> int:
    """Draw the boxes with a score of at least `MIN_SCORE` into a picture, the highest score on top.

    Args:
        axes: axes of the picture.
        predictions: N predictions: `bboxes` (N, 4) x1 y1 x2 y2, `labels` (N,), `scores` (N,).
        classes: class names by label.
        scale: width and height of the picture relative to the image of the boxes. Defaults to (1, 1).

    Returns:
        Number of drawn boxes.
    """
    detections = predictions[predictions.scores >= MIN_SCORE].cpu()
    detections = detections[detections.scores.argsort()]
    labels = zip(detections.labels.tolist(), detections.scores.tolist())
    boxes = detections.bboxes * detections.bboxes.new_tensor(tuple(scale)).repeat(2)
    draw_boxes(axes, boxes.numpy(), [f'{class_name(classes, label)} {score:.2f}' for label, score in labels])
    return len(detections)


def _draw_image(cell: Axes, image: np.ndarray, title: str) -> None:
    """Draw an image (H, W, 3)."""
    cell.imshow(image)
    _finish(cell, title)


def _draw_heat(
    cell: Axes, image: np.ndarray, heat: Tensor, title: str, presence: float | None = None
) -> None:
    """Draw a map (h, w) over an image (H, W, 3), with its presence in the title unless that is unknown."""
    draw_map(cell, image, _upsample(heat, image.shape[:2]), 1.0 if presence is None else presence)
    _finish(cell, title if presence is None else f'{title}\n{presence_words(presence)}')


def _finish(cell: Axes, title: str) -> None:
    # Names may contain dollar signs, which matplotlib would parse as a formula.
    cell.set_title(title, fontsize=7, parse_math=False)
    cell.axis('off')


def _last_layer(maps: InteractionMaps) -> Tensor:
    return maps.spatial_log_probs()[:, -1].exp()  # [B, M, H, W]


def _upsample(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    with torch.no_grad():
        return F.interpolate(heat[None, None], size, mode='bilinear', align_corners=False)[0, 0].numpy()


@default_style()
def draw_teachers(rows: Sequence[tuple[np.ndarray, np.ndarray, str, dict[str, Tensor]]]) -> Figure:
    """Draw each image with a region, and beside it each teacher's map of the region's class.

    Args:
        rows: for each image, the pixels (H, W, 3) uint8 RGB, the region (H, W) bool, the title, and the maps
            (h, w) by name of the teacher, on any scale.
    """
    columns = 1 + len(rows[0][3])
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.2 * columns, 2.2 * len(rows)), layout='constrained', squeeze=False
    )
    for cells, (image, region, title, heats) in zip(axes, rows):
        _draw_image(cells[0], image, title)
        for cell, (name, heat) in zip(cells[1:], heats.items()):
            _draw_heat(cell, image, (heat - heat.mean()).clamp_min(0), name)
        for cell in cells:
            if region.any() and not region.all():
                cell.contour(region, levels=[0.5], colors='white', linewidths=1)
    set_fonts(figure)
    return figure
