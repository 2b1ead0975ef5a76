"""Figures of pseudo-labels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from pycocotools import mask as rle

from lfi.utils.matplotlib_settings import default_style
from lfi.visualization.fonts import set_fonts

COLUMNS = 4
EXPLANATION = (
    'Above an image: its file, and the concepts that it shows, with their presence. Below: how many objects '
    'of each class, and the score of each: its presence times the mean of the map inside its mask.'
)
# Classes, and scores of a class, that a legend names.
MAX_CLASSES, MAX_SCORES = 8, 5
# Steps of the golden ratio keep the hues of any number of classes apart.
HUE_STEP, SATURATION = 0.618, 0.9
# Least distance between two numbers, as a share of the image's longer side.
MIN_DISTANCE = 0.06


@default_style()
def draw_labels(images: Sequence[np.ndarray], records: Sequence[dict], concepts: Sequence[str]) -> Figure:
    """Draw a grid of images with numbered boxes and masks of objects, in one colour a class.

    A legend below each image counts the objects of each class, with their numbers and scores. The title has
    the file and the present concepts. The object of the highest score has the number 1.

    Args:
        images: images, each (H, W, 3) uint8 RGB; at least one.
        records: records of the images, made by `image_record`.
        concepts: names of the T concepts.
    """
    columns = min(len(images), COLUMNS)
    rows = -(-len(images) // columns)
    size = (2.9 * columns, 3.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout='constrained', squeeze=False)
    for cell in axes.flat:
        cell.axis('off')
    drawn = dict.fromkeys(obj['concept'] for record in records for obj in record['objects'])
    colours = {c: hsv_to_rgb((HUE_STEP * i % 1, SATURATION, 1)) for i, c in enumerate(drawn)}
    for cell, image, record in zip(axes.flat, images, records):
        cell.imshow(image)
        _draw_objects(cell, image.shape[:2], record['objects'], colours)
        _add_legend(cell, record['objects'], concepts, colours)
        present = ', '.join(f'{concepts[c]} {presence:.0%}' for c, presence in record['presence'])
        title = textwrap.fill(present or 'none of the concepts', 44, max_lines=3)
        name = Path(record['file']).name[-44:]
        cell.set_title(f'{name}\n{title}', fontsize=7, parse_math=False)
    figure.supxlabel(textwrap.fill(EXPLANATION, 46 * columns), fontsize=7)
    set_fonts(figure)
    return figure


def _draw_objects(cell: Axes, size: tuple[int, int], objects: Sequence[dict], colours: dict) -> None:
    """Draw masks, boxes and numbers of objects; the one of the highest score lies on top."""
    placed: list[np.ndarray] = []
    distance = MIN_DISTANCE * max(size)
    for number, obj in reversed([*enumerate(objects, 1)]):
        x, y, w, h = obj['bbox']
        colour = colours[obj['concept']]
        mask = rle.decode(obj['segmentation'])
        cell.imshow(np.dstack([np.full(size, channel) for channel in colour] + [0.4 * mask]))
        cell.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, color=colour, linewidth=1.2))
        corners = np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])
        # The first corner that is free, or the one farthest from other numbers.
        gaps = [min((np.abs(corner - other).max() for other in placed), default=np.inf) for corner in corners]
        free = [corner for corner, gap in zip(corners, gaps) if gap >= distance]
        placed.append(free[0] if free else corners[int(np.argmax(gaps))])
        box: dict = dict(boxstyle='round,pad=0.15', facecolor=colour, linewidth=0)
        style: dict = dict(fontsize=5, color='black', ha='center', va='center', bbox=box, clip_on=True)
        left, top = placed[-1]
        cell.text(left, top, str(number), **style)


def _add_legend(cell: Axes, objects: Sequence[dict], concepts: Sequence[str], colours: dict) -> None:
    """Add a legend of the classes, those of most objects first."""
    by_class: dict[int, list[str]] = {}
    for number, obj in enumerate(objects, 1):
        by_class.setdefault(obj['concept'], []).append(f'#{number} {obj["score"]:.2f}')
    classes = sorted(by_class, key=lambda concept: -len(by_class[concept]))
    handles = [
        Patch(color=colours[c], label=f'{concepts[c]} ({len(by_class[c])}): {_listed(by_class[c])}')
        for c in classes[:MAX_CLASSES]
    ]
    if len(classes) > MAX_CLASSES:
        handles.append(Patch(alpha=0, label=f'and {len(classes) - MAX_CLASSES} more classes'))
    if handles:
        legend = cell.legend(
            handles=handles, loc='upper center', bbox_to_anchor=(0.5, 0), fontsize=5, frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _listed(scores: Sequence[str]) -> str:
    return ', '.join(scores[:MAX_SCORES]) + (', ...' if len(scores) > MAX_SCORES else '')
