"""Interaction maps, as matplotlib figures."""

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

# The least score of a detection that is drawn, as in mmdet's own hook.
MIN_SCORE = 0.3


def draw_interactions(
    axes: np.ndarray,
    images: np.ndarray,
    teacher: InteractionMaps,
    student: InteractionMaps,
    names: Sequence[str],
    concepts: Sequence[int],
) -> None:
    """Lay one concept's map over each image: the image, the teacher's map and the student's, side by side.

    Args:
        axes: (B, 3) matplotlib axes.
        images: (B, H, W, 3) uint8, RGB.
        teacher: text->image maps of the B images; the last layer is drawn.
        student: likewise.
        names: the bank's concepts.
        concepts: for each image the index m of the concept among its maps.
    """
    rows = zip(axes, images, concepts, _last_layer(teacher), _last_layer(student))
    for b, (row, image, m, t, s) in enumerate(rows):
        index = m if teacher.concepts is None else int(teacher.concepts[b, m])
        for cell, heat, title in zip(row, (None, t[m], s[m]), (names[index], 'teacher', 'student')):
            _draw_heat(cell, image, heat, title)


def draw_answers(
    axes: np.ndarray, images: np.ndarray, answers: InteractionMaps, titles: Sequence[str]
) -> None:
    """Draw images, and beside each where a student sees each of the concepts that it was asked about.

    Each map is scaled to its own range: where a concept would be says nothing on whether it is there.

    Args:
        axes: (B, 1 + M) matplotlib axes.
        images: (B, H, W, 3) uint8, RGB.
        answers: of the B images about M concepts; the last layer is drawn.
        titles: of the M maps; presence is added.
    """
    for row, image, heats, presence in zip(axes, images, _last_layer(answers), answers.presence):
        _draw_heat(row[0], image, None, 'asked about')
        for cell, heat, value, title in zip(row[1:], heats, presence, titles):
            _draw_heat(cell, image, heat, f'{title}: {value:.0%}')


def draw_boxes(axes: Axes, boxes: np.ndarray, titles: Sequence[str]) -> None:
    """Draw boxes, (N, 4) x1 y1 x2 y2 in pixels, with a title each, into a picture."""
    for (x1, y1, x2, y2), title in zip(boxes, titles):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color='white', linewidth=1))
        style: dict = dict(fontsize=5, color='white', backgroundcolor='black', va='bottom', parse_math=False)
        axes.text(x1, y1, title, **style)


def draw_detections(
    axes: Axes, found: InstanceData, classes: Sequence[str], scale: Sequence[float] = (1, 1)
) -> int:
    """Draw the boxes with a score of at least `MIN_SCORE` into a picture.

    Args:
        axes: of the picture.
        found: N predictions: `bboxes` (N, 4) x1 y1 x2 y2, `labels` (N,), `scores` (N,).
        classes: Names of the labels.
        scale: what the picture's width and height are of the image that the boxes are of. Defaults to (1, 1).

    Returns:
        How many there are.
    """
    found = found[found.scores >= MIN_SCORE].cpu()
    named = zip(found.labels.tolist(), found.scores.tolist())
    boxes = found.bboxes * found.bboxes.new_tensor(tuple(scale)).repeat(2)
    draw_boxes(axes, boxes.numpy(), [f'{class_name(classes, label)} {score:.2f}' for label, score in named])
    return len(found)


def _draw_heat(cell: Axes, image: np.ndarray, heat: Tensor | None, title: str) -> None:
    """Draw an image (H, W, 3), under a map (h, w) where there is one."""
    cell.imshow(image)
    if heat is not None:
        cell.imshow(_upsample(heat, image.shape[:2]), cmap='jet', alpha=0.5)
    # A dollar sign in a name begins no formula.
    cell.set_title(title, fontsize=8, parse_math=False)
    cell.axis('off')


def _last_layer(maps: InteractionMaps) -> Tensor:
    return maps.spatial_log_probs()[:, -1].exp()  # [B, M, H, W]


def _upsample(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    with torch.no_grad():
        return F.interpolate(heat[None, None], size, mode='bilinear', align_corners=False)[0, 0].numpy()


@default_style()
def draw_teachers(rows: Sequence[tuple[np.ndarray, np.ndarray, str, dict[str, Tensor]]]) -> Figure:
    """A grid: each image with a region of it, and where each of several teachers sees what the region shows.

    Args:
        rows: for each image: (H, W, 3) uint8 RGB; the region, (H, W) bool; its name; and by the teacher's
            name its map (h, w), of any scale.
    """
    columns = 1 + len(rows[0][3])
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.2 * columns, 2.2 * len(rows)), layout='constrained', squeeze=False
    )
    for cells, (image, region, title, heats) in zip(axes, rows):
        for cell, name, heat in zip(cells, (title, *heats), (None, *heats.values())):
            _draw_heat(cell, image, heat, name)
            if region.any() and not region.all():
                cell.contour(region, levels=[0.5], colors='white', linewidths=1)
    set_fonts(figure)
    return figure
