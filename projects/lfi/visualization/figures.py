"""Learning curves and interaction maps, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from lfi.evaluation import Run
from lfi.structures import InteractionMaps


def draw_curves(axes: Axes, runs: Sequence[Run]) -> None:
    """Accuracy by epoch; a dotted line marks the best of the first run, the baseline."""
    for run in runs:
        axes.plot(range(1, len(run.accuracy) + 1), run.accuracy, marker='o', markersize=3, label=run.name)
    axes.axhline(runs[0].best, color='grey', linestyle=':', linewidth=1)
    axes.set_xlabel('epoch')
    axes.set_ylabel('top-1 on the validation images, %')
    axes.legend()
    axes.grid(alpha=0.3)


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
        teacher: maps of the B images, over positions; the last layer is drawn.
        student: likewise.
        names: the bank's concepts.
        concepts: for each image the place m of the concept among its maps.
    """
    size = images.shape[1:3]
    rows = zip(axes, images, concepts, _last_layer(teacher), _last_layer(student))
    for b, (row, image, m, t, s) in enumerate(rows):
        index = m if teacher.concepts is None else int(teacher.concepts[b, m])
        for cell, heat, title in zip(row, (None, t, s), (names[index], 'teacher', 'student')):
            cell.imshow(image)
            if heat is not None:
                cell.imshow(_upsample(heat[m], size), cmap='jet', alpha=0.5)
            cell.set_title(title, fontsize=8)
            cell.axis('off')


def _last_layer(maps: InteractionMaps) -> Tensor:
    return maps.over_positions()[:, -1].exp()  # [B, M, H, W]


def _upsample(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    with torch.no_grad():
        return F.interpolate(heat[None, None], size, mode='bilinear', align_corners=False)[0, 0].numpy()
