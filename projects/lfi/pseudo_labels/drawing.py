"""Figures of pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from pycocotools import mask as rle

from lfi.utils.matplotlib_settings import default_style
from lfi.visualization.figures import draw_boxes
from lfi.visualization.fonts import set_fonts

COLUMNS = 4


@default_style()
def draw_labels(images: Sequence[np.ndarray], records: Sequence[dict], concepts: Sequence[str]) -> Figure:
    """Draw a grid of images with masks, boxes and names of objects, titled with the present concepts.

    Args:
        images: images, each (H, W, 3) uint8 RGB; at least one.
        records: records of the images, made by `image_record`.
        concepts: names of the T concepts.
    """
    columns = min(len(images), COLUMNS)
    rows = -(-len(images) // columns)
    size = (2.6 * columns, 2.8 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout='constrained', squeeze=False)
    for cell in axes.flat:
        cell.axis('off')
    for cell, image, record in zip(axes.flat, images, records):
        cell.imshow(image)
        objects = record['objects']
        for obj in objects:
            mask = rle.decode(obj['segmentation']).astype(bool)
            cell.imshow(np.ma.masked_where(~mask, mask), cmap='autumn', alpha=0.45, vmin=0, vmax=1)
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in (obj['bbox'] for obj in objects)])
        titles = [f'{concepts[obj["concept"]]} {obj["score"]:.2f}' for obj in objects]
        draw_boxes(cell, boxes, titles)
        present = ', '.join(f'{concepts[c]} {presence:.0%}' for c, presence in record['presence'])
        cell.set_title(present or 'none of the concepts', fontsize=7, wrap=True, parse_math=False)
    set_fonts(figure)
    return figure
