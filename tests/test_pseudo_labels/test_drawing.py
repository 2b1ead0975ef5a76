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
    assert first.get_title() == 'a\n$5 dog 90%, cat 60%'
    # The object of the highest score has number 1, and is drawn last.
    assert [text.get_text() for text in first.texts] == ['2', '1']
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        '$5 dog (1): #1 0.80',
        'cat (1): #2 0.50',
    ]
    assert first.images[2].get_array()[..., 3].astype(bool).tolist() == mask.tolist()
    assert first.patches[1].get_bbox().bounds == (2.5, 1.5, 4, 3)
    assert len(second.images) == 1 and second.get_title() == 'b\nnone of the concepts'


def test_colours_are_those_of_classes_and_numbers_do_not_overlap():
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:50] = True
    record = image_record(
        'a', (60, 80), {0: 0.9, 1: 0.5}, [ObjectLabel.from_mask(c, 0.5, mask) for c in (0, 1, 0, 1)]
    )
    figure = draw_labels([np.zeros((60, 80, 3), np.uint8)], [record], ['cat', 'dog'])
    cell = figure.axes[0]
    colours = [patch.get_edgecolor() for patch in cell.patches]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    places = {text.get_position() for text in cell.texts}
    assert len(places) == 4
    assert [text.get_text() for text in cell.get_legend().get_texts()] == [
        'cat (2): #1 0.50, #3 0.50',
        'dog (2): #2 0.50, #4 0.50',
    ]
