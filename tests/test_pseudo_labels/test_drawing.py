"""A grid of pictures."""

import numpy as np
from lfi.pseudo_labels import ObjectLabel
from lfi.pseudo_labels.drawing import draw_labels
from lfi.pseudo_labels.written_labels import image_record


def test_each_image_shows_its_objects_and_concepts():
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:7] = True
    objects = [ObjectLabel.from_mask(1, 0.8, mask), ObjectLabel.from_mask(0, 0.5, ~mask)]
    records = [
        image_record('a', (8, 10), {1: 0.9, 0: 0.6}, objects),
        *[image_record('b', (8, 10), {}, [])] * 4,
    ]
    figure = draw_labels([np.zeros((8, 10, 3), np.uint8)] * 5, records, ['cat', '$5 dog'])
    figure.canvas.draw()
    # Four in a row, and the rest of the last row stays empty.
    assert len(figure.axes) == 8
    first, second, *_ = figure.axes
    assert len(first.images) == 3 and len(first.patches) == 2
    assert first.get_title() == '$5 dog 90%, cat 60%'
    assert [text.get_text() for text in first.texts] == ['$5 dog 0.80', 'cat 0.50']
    np.testing.assert_array_equal(first.images[1].get_array().mask, ~mask)
    assert first.patches[0].get_bbox().bounds == (3, 2, 4, 3)
    assert len(second.images) == 1 and second.get_title() == 'none of the concepts'
