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
from lfi.visualization.figures import MIN_SCORE, draw_boxes, draw_detections
from lfi.visualization.fonts import set_fonts
from lfi.visualization.map_drawing import add_map_scale, draw_map, presence_words

from .interaction_result import InteractionResult
from .truth import IGNORED, Truth

# Longer side of a drawn image in pixels, columns of a picture, width of a column in inches, dots per inch.
SIDE, COLUMNS, CELL, DPI = 480, 5, 2.4, 140
# Colours of matplotlib's tab20, and classes of a segmentation that the legend names.
COLOURS, MAX_NAMES = 20, 6
Extent = tuple[float, float, float, float]


def strongest_texts(result: InteractionResult, count: int = 5) -> list[int]:
    """Return the indices of the texts with the highest presence, the highest first."""
    return result.presence.topk(min(count, len(result.texts))).indices.tolist()


@default_style()
def draw_result(
    result: InteractionResult,
    classes: Sequence[str],
    text_indices: Sequence[int],
    truth: Truth | None = None,
    title: str = 'image',
) -> np.ndarray:
    """Draw an image with its prediction, and the maps of some texts with their presence beside it.

    Colour and opacity show each map, at a maximum of 1, times the presence, on one scale for all texts.

    Args:
        result: Result of the image.
        classes: Class names, by label.
        text_indices: Indices of the texts to draw.
        truth: Annotations. Their boxes or their segmentation are drawn beside the prediction. Defaults to
            None.
        title: Title of an image without a prediction. Defaults to 'image'.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    height, width = result.image.shape[:2]
    # Very thin images keep one pixel.
    size = (max(1, round(side * SIDE / max(height, width))) for side in (width, height))
    small = np.clip(imresize(result.image, tuple(size)), 0, 255).astype(np.uint8)
    shape = small.shape[0], small.shape[1]
    # Grey images have no channel axis.
    small = np.broadcast_to(small[..., None], (*small.shape, 3)) if small.ndim == 2 else small[..., ::-1]
    if truth is not None and truth.boxes is None and truth.segmentation is None:
        truth = None
    first_map = 1 if truth is None else 2
    num_cells = first_map + len(text_indices)
    columns = min(num_cells, COLUMNS)
    rows = -(-num_cells // columns)
    cell_height = CELL * min(max(height / width, 0.5), 2) + 0.4
    figure = Figure(figsize=(CELL * columns, cell_height * rows), dpi=DPI, layout='constrained')
    painter = FigureCanvasAgg(figure)
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    # Boxes are in pixels of the loaded image.
    frame = dict(extent=(0, width, height, 0))
    for cell in cells:
        cell.axis('off')
    for cell in cells[:first_map]:
        cell.imshow(small, **frame)
    _title(cells[0], title)
    _draw_prediction(cells[0], result, classes)
    if truth is not None:
        _draw_truth(cells[1], truth, classes, (0, width, height, 0))
    heats = result.maps_on_image(shape).numpy()
    for cell, index in zip(cells[first_map:], text_indices):
        presence = float(result.presence[index])
        draw_map(cell, small, heats[index], presence, **frame)
        _title(cell, f'{result.texts[index]}\n{presence_words(presence)}')
    if num_cells > first_map:
        add_map_scale(figure, cells)
    set_fonts(figure)
    painter.draw()
    return np.asarray(painter.buffer_rgba())[..., :3].copy()


def _draw_prediction(cell: Axes, result: InteractionResult, classes: Sequence[str]) -> None:
    prediction = result.prediction
    if 'pred_instances' in prediction:
        num_objects = draw_detections(cell, prediction.pred_instances, classes)
        _title(cell, f'{num_objects} objects from {MIN_SCORE:g} up')
    elif 'pred_score' in prediction:
        label = int(prediction.pred_score.argmax())
        _title(cell, f'{class_name(classes, label)}  {prediction.pred_score[label]:.0%}')
    elif 'pred_sem_seg' in prediction:
        height, width = result.image.shape[:2]
        _draw_segmentation(cell, prediction.pred_sem_seg.data[0].numpy(), classes, (0, width, height, 0))


def _draw_truth(cell: Axes, truth: Truth, classes: Sequence[str], extent: Extent) -> None:
    if truth.segmentation is not None:
        _draw_segmentation(cell, truth.segmentation, classes, extent)
    if truth.boxes is not None:
        draw_boxes(cell, truth.boxes, [class_name(classes, label) for label in truth.labels])
    _title(cell, 'truth')


def _draw_segmentation(cell: Axes, labels: np.ndarray, classes: Sequence[str], extent: Extent) -> None:
    """Draw labels (H, W) over an image."""
    style: dict = dict(cmap='tab20', vmin=0, vmax=COLOURS - 1, alpha=0.5, interpolation='nearest')
    cell.imshow(np.ma.masked_equal(labels, IGNORED) % COLOURS, extent=extent, **style)
    _add_legend(cell, labels[labels != IGNORED], classes)


def _add_legend(cell: Axes, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Add a legend of the largest classes among the labels of a segmentation's pixels (N,)."""
    indices, pixels = np.unique(labels, return_counts=True)
    largest = indices[np.argsort(-pixels, kind='stable')][:MAX_NAMES].tolist()
    colours = matplotlib.colormaps['tab20']
    handles = [Patch(color=colours(c % COLOURS), label=class_name(classes, c)) for c in largest]
    for text in cell.legend(handles=handles, fontsize=5, loc='lower left', framealpha=0.7).get_texts():
        text.set_parse_math(False)
    num_unnamed = len(indices) - len(largest)
    _title(cell, f'{len(indices)} classes' + (f', {num_unnamed} of them unnamed' if num_unnamed else ''))


def _title(cell: Axes, text: str) -> None:
    # A dollar sign in a text must not start a formula.
    lines = [textwrap.fill(line, 32) for line in text.splitlines()]
    cell.set_title('\n'.join(lines), fontsize=8, parse_math=False)
