"""Results: maps over their images, pictures and records."""

import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from lfi.apis import InteractionResult, draw_result, result_record
from lfi.apis.drawing import _add_legend, strongest_texts
from lfi.apis.truth import Truth
from matplotlib.figure import Figure
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample


def result(**fields):
    """A classifier's, of an image 40 high and 80 wide; the second map peaks at row 1, column 6 of 4 x 8."""
    maps = torch.full((2, 4, 8), 0.01)
    maps[1, 1, 6] = 0.69
    default = dict(
        name='photos/a.png',
        frame=None,
        image=np.full((40, 80, 3), 90, np.uint8),
        prediction=DataSample().set_pred_score(torch.tensor([0.1, 0.7, 0.2])),
        texts=('cat', 'a $5 dog_'),
        presence=torch.tensor([0.5, 0.62351]),
        maps=maps,
        view=torch.eye(2, 3),
    )
    return InteractionResult(**{**default, **fields})


def peak(heat):
    return divmod(int(heat.nan_to_num(-1).argmax()), heat.shape[1])


def test_maps_lie_over_the_whole_image():
    heat = result().maps_on_image()
    assert heat.shape == (2, 40, 80) and not heat.isnan().any()
    row, column = peak(heat[1])
    assert abs(row - 14.5) <= 1 and abs(column - 64.5) <= 1
    torch.testing.assert_close(heat[0], torch.full((40, 80), 0.01))
    assert result().maps_on_image((20, 40)).shape == (2, 20, 40)


def test_maps_lie_where_the_model_looked():
    # The right half, mirrored.
    heat = result(view=torch.tensor([[-0.5, 0, 0.5], [0, 1, 0]])).maps_on_image()
    assert heat[:, :, :40].isnan().all() and not heat[:, :, 40:].isnan().any()
    row, column = peak(heat[1])
    # Column 6.5 of 8 from the right edge of 40 pixels.
    assert abs(row - 14.5) <= 1 and abs(column - (80 - 6.5 * 5)) <= 1


def test_the_strongest_texts_texts_come_first():
    assert strongest_texts(result()) == [1, 0]
    assert strongest_texts(result(), 1) == [1]
    assert strongest_texts(result(texts=(), presence=torch.zeros(0))) == []


def test_a_picture_shows_the_image_and_each_map():
    plain = draw_result(result(texts=(), presence=torch.zeros(0), maps=torch.zeros(0, 1, 1)), (), ())
    one, two = draw_result(result(), ('x', 'y'), [1]), draw_result(result(), ('x', 'y'), [0, 1])
    assert plain.shape[1] < one.shape[1] < two.shape[1]
    assert {picture.dtype for picture in (plain, one, two)} == {np.dtype(np.uint8)}
    # The peak is red, in the right part of the second cell.
    right = one[:, one.shape[1] // 2 :].astype(int)
    red = right[..., 0] - right[..., 2]
    assert np.unravel_index(red.argmax(), red.shape)[1] > 0.6 * right.shape[1]


def test_annotations_stand_beside_the_prediction():
    plain = draw_result(result(), ('x', 'y'), [1])
    # The label of an image is no picture.
    assert np.array_equal(draw_result(result(), ('x', 'y'), [1], Truth((1,))), plain)
    boxed = draw_result(result(), ('x', 'y'), [1], Truth((1,), np.array([[10.0, 10, 30, 30]])))
    ignored, labelled = np.full((40, 80), 255), np.full((40, 80), 255)
    labelled[:, 40:] = 1
    nothing, half = (
        draw_result(result(), ('x', 'y'), [1], Truth((1,), segmentation=labels))
        for labels in (ignored, labelled)
    )
    assert plain.shape[1] < boxed.shape[1] == nothing.shape[1] == half.shape[1]
    cell = slice(boxed.shape[1] // 3, 2 * boxed.shape[1] // 3)
    # White lines, and the colour of a class in the right half of the cell alone.
    assert (boxed[:, cell] != nothing[:, cell]).any()
    changed = np.nonzero((half[:, cell] != nothing[:, cell]).any((0, 2)))[0]
    # The scale of the maps takes a part of the picture's width.
    assert changed.max() > 0.75 * boxed.shape[1] // 3


def test_a_picture_follows_no_settings_of_the_working_directory():
    expected = draw_result(result(), ('x', 'y'), [1])
    with matplotlib.rc_context({'text.usetex': True, 'savefig.dpi': 10, 'figure.dpi': 10}):
        assert np.array_equal(draw_result(result(), ('x', 'y'), [1]), expected)
        assert matplotlib.rcParams['text.usetex'] is True


def test_many_maps_go_into_rows():
    maps, scores = torch.rand(9, 4, 8), torch.rand(9)
    many = result(texts=tuple('abcdefghi'), presence=scores, maps=maps)
    one_row, two_rows = draw_result(many, (), range(4)), draw_result(many, (), range(9))
    assert one_row.shape[1] == two_rows.shape[1] and two_rows.shape[0] > 1.8 * one_row.shape[0]


@pytest.mark.parametrize('size', [(600, 2000), (9, 200), (200, 9)])
def test_a_picture_of_any_image_is_small(size):
    picture = draw_result(result(image=np.zeros((*size, 3), np.uint8)), (), [0, 1])
    assert max(picture.shape[:2]) <= 1100


def test_a_classifiers_record():
    record = result_record(result(), ('x', 'y'))
    assert record == {
        'image': 'photos/a.png',
        'size': [40, 80],
        'classes': [
            {'class': 'y', 'score': 0.7},
            # It has no name.
            {'class': '2', 'score': 0.2},
            {'class': 'x', 'score': 0.1},
        ],
        'texts': {'cat': 0.5, 'a $5 dog_': 0.6235},
    }
    assert json.loads(json.dumps(record)) == record
    assert result_record(replace(result(), frame=7), ())['frame'] == 7


def test_a_detectors_record_and_picture():
    found = InstanceData(
        bboxes=torch.tensor([[4.04, 4, 20, 30], [50, 5, 79.96, 39]]),
        scores=torch.tensor([0.91239, 0.1]),
        labels=torch.tensor([1, 0]),
    )
    detected = result(prediction=DataSample(pred_instances=found), texts=(), presence=torch.zeros(0))
    assert result_record(detected, ('x', 'y')) == {
        'image': 'photos/a.png',
        'size': [40, 80],
        'objects': [
            {'class': 'y', 'score': 0.9124, 'box': [4.0, 4.0, 20.0, 30.0]},
            {'class': 'x', 'score': 0.1, 'box': [50.0, 5.0, 80.0, 39.0]},
        ],
    }
    white = (draw_result(detected, ('x', 'y'), ()) == 255).all(-1)
    nothing = replace(detected, prediction=DataSample(pred_instances=found[found.scores > 1]))
    # One box is drawn, the other is too weak.
    more = white & ~(draw_result(nothing, ('x', 'y'), ()) == 255).all(-1)
    columns = np.flatnonzero(more[20:].any(0)) / white.shape[1]
    assert columns.min() < 0.1 and 0.2 < columns.max() < 0.35


def test_a_segmentors_record_and_picture():
    labels = torch.ones(1, 40, 80, dtype=torch.long)
    labels[:, :10] = 0
    labels[:, 39, 79] = 23

    def segmented(labels):
        prediction = DataSample(pred_sem_seg=PixelData(data=labels))
        return result(prediction=prediction, texts=(), presence=torch.zeros(0))

    record = result_record(segmented(labels), ('sky', 'grass'))
    assert record['areas'] == [
        {'class': 'grass', 'share': 0.7497},
        {'class': 'sky', 'share': 0.25},
        {'class': '23', 'share': 0.0003},
    ]
    assert json.loads(json.dumps(record)) == record
    picture, turned = (
        draw_result(segmented(each), ('sky', 'grass'), ()).astype(int) for each in (labels, labels.flip(1))
    )
    figure = Figure()
    _add_legend(figure.subplots(), labels[0].numpy(), ('sky', 'a $ }$ b'))
    (cell,) = figure.axes
    assert [text.get_text() for text in cell.get_legend().get_texts()] == ['a $ }$ b', 'sky', '23']
    drawn = [tuple(patch.get_facecolor()) for patch in cell.get_legend().get_patches()]
    assert drawn == [matplotlib.colormaps['tab20'](c) for c in (1, 0, 3)]
    assert cell.get_title() == '3 classes'
    # The sky lies above in one, and below in the other.
    rows = np.flatnonzero(np.abs(picture - turned).sum(-1).any(1)) / len(picture)
    assert rows.min() < 0.5 < rows.max()
