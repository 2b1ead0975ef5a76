import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from lfi.structures import InteractionMaps
from lfi.visualization import draw_answers, draw_interactions
from lfi.visualization.figures import draw_boxes, draw_detections
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
        assert [cell.get_title() for cell in row] == [name, 'teacher', 'student']
        for cell, (y, x) in zip(row[1:], ((3, 28), (19, 11))):
            heat = cell.images[-1].get_array()
            peak = np.unravel_index(heat.argmax(), heat.shape)
            assert abs(peak[0] - y) <= 4 and abs(peak[1] - x) <= 4


def test_answers_lie_over_the_image_each_in_its_own_range():
    _, axes = plt.subplots(2, 3)
    logits = torch.zeros(2, 2, 2, 4, 4)
    logits[0, 1, 0, 0, 3], logits[0, 1, 1, 2, 1] = 10, 1
    presence = torch.tensor([[0.9, 0.123], [0.0, 1.0]])
    answers = InteractionMaps(logits, presence, torch.ones(2, 4, 4).bool(), layers=(0, 1))
    draw_answers(axes, np.zeros((2, 32, 32, 3), np.uint8), answers, ['a', 'b'])
    assert [cell.get_title() for cell in axes[0]] == ['asked about', 'a: 90%', 'b: 12%']
    assert [cell.get_title() for cell in axes[1]] == ['asked about', 'a: 0%', 'b: 100%']
    assert len(axes[0, 0].images) == 1
    for cell, (y, x) in zip(axes[0, 1:], ((3, 28), (19, 11))):
        heat = cell.images[-1]
        peak = np.unravel_index(heat.get_array().argmax(), (32, 32))
        assert abs(peak[0] - y) <= 4 and abs(peak[1] - x) <= 4
        assert heat.get_clim() == (heat.get_array().min(), heat.get_array().max())


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
    first, second = axes.patches
    assert first.get_bbox().extents.tolist() == [5, 40, 15, 80]
    assert second.get_bbox().extents.tolist() == [2, 8, 4, 16]
    # A label without a name is a number.
    assert [text.get_text() for text in axes.texts] == ['star 0.90', '2 0.50']
