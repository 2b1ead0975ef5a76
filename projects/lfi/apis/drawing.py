"""Pictures of results."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmcv import imresize

from lfi.concepts.names import class_name
from lfi.utils.matplotlib_settings import default_style
from lfi.visualization.figures import MIN_SCORE, draw_detections
from lfi.visualization.fonts import set_fonts

from .interaction_result import InteractionResult

# The longer side of an image in pixels; the columns of a picture, and the inches of each.
SIDE, COLUMNS, CELL = 480, 5, 2.4
# A segmentor's: as many as the map of colours has, and as many classes as are named.
COLOURS, MOST_NAMES = 20, 6


def strongest(result: InteractionResult, count: int = 5) -> list[int]:
    """The indices of the texts with the highest presence, the highest first."""
    return result.presence.topk(min(count, len(result.texts))).indices.tolist()


@default_style()
def draw_result(result: InteractionResult, classes: Sequence[str], shown: Sequence[int]) -> np.ndarray:
    """Draw an image with its prediction, and beside it the maps of some texts, with the presence of each.

    Each map is scaled to its own range.

    Args:
        result: The result of the image.
        classes: Names of the labels.
        shown: Indices of the texts.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    height, width = result.image.shape[:2]
    # Of a very thin image one pixel is left.
    size = (max(1, round(side * SIDE / max(height, width))) for side in (width, height))
    small = np.clip(imresize(result.image, tuple(size)), 0, 255).astype(np.uint8)
    shape = small.shape[0], small.shape[1]
    # A grey image has no channels.
    small = np.broadcast_to(small[..., None], (*small.shape, 3)) if small.ndim == 2 else small[..., ::-1]
    columns = min(1 + len(shown), COLUMNS)
    rows = -(-(1 + len(shown)) // columns)
    cell_height = CELL * min(max(height / width, 0.5), 2) + 0.4
    figure = Figure(figsize=(CELL * columns, cell_height * rows), layout='constrained')
    painter = FigureCanvasAgg(figure)
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    # Boxes are in the loaded image's pixels.
    frame = dict(extent=(0, width, height, 0))
    for cell in cells:
        cell.axis('off')
    for cell in cells[: 1 + len(shown)]:
        cell.imshow(small, **frame)
    _draw_prediction(cells[0], result, classes)
    heats = result.maps_on_image(shape).numpy()
    for cell, index in zip(cells[1:], shown):
        cell.imshow(np.ma.masked_invalid(heats[index]), cmap='jet', alpha=0.5, **frame)
        _title(cell, f'{result.texts[index]}  {result.presence[index]:.0%}')
    set_fonts(figure)
    painter.draw()
    return np.asarray(painter.buffer_rgba())[..., :3].copy()


def _draw_prediction(cell: Axes, result: InteractionResult, classes: Sequence[str]) -> None:
    prediction = result.prediction
    if 'pred_instances' in prediction:
        drawn = draw_detections(cell, prediction.pred_instances, classes)
        _title(cell, f'{drawn} objects from {MIN_SCORE:g} up')
    elif 'pred_score' in prediction:
        label = int(prediction.pred_score.argmax())
        _title(cell, f'{class_name(classes, label)}  {prediction.pred_score[label]:.0%}')
    elif 'pred_sem_seg' in prediction:
        labels = prediction.pred_sem_seg.data[0].numpy()  # [H, W]
        height, width = result.image.shape[:2]
        cell.imshow(
            labels % COLOURS,
            cmap='tab20',
            vmin=0,
            vmax=COLOURS - 1,
            alpha=0.5,
            interpolation='nearest',
            extent=(0, width, height, 0),
        )
        _name_colours(cell, labels, classes)


def _name_colours(cell: Axes, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Say which colours the largest classes of a segmentation (H, W) have."""
    shown, pixels = np.unique(labels, return_counts=True)
    largest = shown[np.argsort(-pixels, kind='stable')][:MOST_NAMES].tolist()
    colours = matplotlib.colormaps['tab20']
    handles = [Patch(color=colours(c % COLOURS), label=class_name(classes, c)) for c in largest]
    for text in cell.legend(handles=handles, fontsize=5, loc='lower left', framealpha=0.7).get_texts():
        text.set_parse_math(False)
    rest = len(shown) - len(largest)
    _title(cell, f'{len(shown)} classes' + (f', {rest} of them unnamed' if rest else ''))


def _title(cell: Axes, text: str) -> None:
    # A dollar sign in a text begins no formula.
    cell.set_title(textwrap.fill(text, 32), fontsize=8, parse_math=False)
