import math

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lfi.structures import InteractionMaps
from lfi.visualization import draw_answers, draw_interactions
from lfi.visualization.figures import draw_boxes, draw_detections
from lfi.visualization.map_drawing import draw_map, presence_words
from mmengine.structures import InstanceData


def maps_with_peak(row: int, col: int) -> InteractionMaps:
    logits = torch.zeros(2, 1, 3, 4, 4)
    logits[:, :, 1, row, col] = 10
    return InteractionMaps(
        logits,
        torch.ones(2, 3),
        torch.ones(2, 4, 4, dtype=torch.bool),
        concepts=torch.tensor([[0, 1, -1], [0, 2, -1]]),
    )


def test_maps_lie_over_their_image_with_the_peak_in_place():
    _, axes = plt.subplots(2, 3)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    draw_interactions(
        axes, images, maps_with_peak(0, 3), maps_with_peak(2, 1), ['a', 'b', 'c'], concepts=[1, 1]
    )
    for row, name in zip(axes, 'bc'):
        assert [cell.get_title() for cell in row] == [
            name,
            'teacher\nlikely there, 100 %',
            'student\nlikely there, 100 %',
        ]
        for cell, (y, x) in zip(row[1:], ((3, 28), (19, 11))):
            heat = cell.images[-1].get_array()
            peak = np.unravel_index(heat.argmax(), heat.shape)
            assert abs(peak[0] - y) <= 4 and abs(peak[1] - x) <= 4


def test_answers_lie_over_the_image_and_fade_with_their_presence():
    _, axes = plt.subplots(2, 4)
    logits = torch.zeros(2, 2, 3, 4, 4)
    logits[0, 1, 0, 0, 3], logits[0, 1, 1, 2, 1] = 10, 1
    presence = torch.tensor([[0.9, 0.123, 0.02], [0.0, 1.0, 0.495]])
    answers = InteractionMaps(logits, presence, torch.ones(2, 4, 4).bool(), layers=(0, 1))
    draw_answers(axes, np.zeros((2, 32, 32, 3), np.uint8), answers, ['a', 'b', 'c'])
    titles = ['asked about', 'a\nlikely there, 90 %', 'b\nlikely absent, 12 %', 'c\nlikely absent, 2 %']
    assert [cell.get_title() for cell in axes[0]] == titles
    titles = ['asked about', 'a\nlikely absent, 0 %', 'b\nlikely there, 100 %', 'c\nnot sure, 50 %']
    assert [cell.get_title() for cell in axes[1]] == titles
    assert len(axes[0, 0].images) == 1
    for cell, value, (y, x) in zip(axes[0, 1:], presence[0], ((3, 28), (19, 11))):
        opacity = cell.images[-1].get_array()[..., 3]
        peak = np.unravel_index(opacity.argmax(), (32, 32))
        assert abs(peak[0] - y) <= 4 and abs(peak[1] - x) <= 4
        assert opacity.max() == pytest.approx(0.75 * float(value) ** 0.7, rel=1e-3)
    assert axes[1, 1].images[-1].get_array()[..., 3].max() == 0


def test_a_map_is_drawn_only_where_the_model_looked():
    _, (cell, empty) = plt.subplots(1, 2)
    heat = np.array([[np.nan, 0.0], [2.0, 1.0]])
    draw_map(cell, np.full((2, 2, 3), 255, np.uint8), heat, 0.5)
    grey, colours = (image.get_array() for image in cell.images)
    assert (grey == 190).all()
    np.testing.assert_allclose(colours[..., 3], [[0, 0], [0.75 * 0.5**0.7, 0.75 * 0.25**0.7]])
    draw_map(empty, np.zeros((2, 2, 3), np.uint8), heat, math.nan)
    assert not empty.images[-1].get_array()[..., 3].any() and presence_words(math.nan) == 'unknown'
    # Nothing was seen at all.
    draw_map(empty, np.zeros((2, 2, 3), np.uint8), np.full((2, 2), np.nan))
    assert not empty.images[-1].get_array()[..., 3].any()


def test_dollar_signs_in_names_begin_no_formula():
    figure, axes = plt.subplots(2, 3)
    images, names = np.zeros((2, 32, 32, 3), np.uint8), ['a', 'cost $ }$', r'$\x$']
    draw_interactions(axes, images, maps_with_peak(0, 3), maps_with_peak(2, 1), names, concepts=[1, 1])
    draw_boxes(axes[0, 0], np.array([[1.0, 1, 20, 20]]), ['cost $ }$ 0.90'])
    # It reads its texts when it draws.
    figure.canvas.draw()
    assert [axes[0, 0].get_title(), axes[1, 0].get_title()] == names[1:]


def test_detections_are_named_by_their_classes_in_the_pixels_of_the_picture():
    _, axes = plt.subplots()
    found = InstanceData(
        bboxes=torch.tensor([[10.0, 20, 30, 40], [0, 0, 5, 5], [4, 4, 8, 8]]),
        labels=torch.tensor([1, 0, 2]),
        scores=torch.tensor([0.9, 0.1, 0.5]),
    )
    assert draw_detections(axes, found, ['ring', 'star'], scale=(0.5, 2)) == 2
    # The highest score is drawn last, so on top.
    weak, strong = axes.patches
    assert strong.get_bbox().extents.tolist() == [5, 40, 15, 80]
    assert weak.get_bbox().extents.tolist() == [2, 8, 4, 16]
    # A label without a name is a number.
    assert [text.get_text() for text in axes.texts] == ['2 0.50', 'star 0.90']
