import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lfi.apis import image_answers
from lfi.apis.image_answers import ImageAnswer, ImageAnswers
from lfi.apis.interaction_result import InteractionResult
from mmdet.structures import DetDataSample
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpretrain.structures import DataSample
from PIL import Image

NAMES = ('cat', 'dog', 'bird')


@pytest.fixture
def make():
    """`make(prediction, presence)`: an answer about a blue picture, 8 x 6 pixels."""

    def answer(prediction=None, presence=(0.25, 0.5)):
        image = np.zeros((6, 8, 3), np.uint8)
        image[..., 0] = 255
        texts = tuple(f'text {i}' for i in range(len(presence)))
        maps = torch.full((len(presence), 2, 2), 0.25)
        result = InteractionResult(
            'a.png',
            None,
            image,
            prediction or BaseDataElement(),
            texts,
            torch.tensor(presence),
            maps,
            torch.eye(2, 3),
        )
        return ImageAnswer(result, NAMES)

    return answer


@pytest.fixture
def objects():
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 2, 6, 6], [0, 0, 1, 1]])
    masks = torch.ones(3, 6, 8, dtype=torch.bool)
    instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([1, 1, 0]), scores=torch.tensor([0.9, 0.5, 0.1]), masks=masks
    )
    return DetDataSample(pred_instances=instances)


def test_an_answer_holds_arrays(make):
    answer = make()
    assert answer.image[0, 0].tolist() == [0, 0, 255]
    assert answer.presence.tolist() == [0.25, 0.5]
    assert answer.maps.shape == (2, 2, 2)
    assert answer.maps_on_image().shape == (2, 6, 8)
    assert answer.labels is answer.scores is answer.boxes is answer.masks is answer.predicted is None
    assert repr(answer) == 'ImageAnswer(a.png; texts: text 0 25%, text 1 50%)'


def test_a_classifier_gives_its_classes_the_best_first(make):
    answer = make(DataSample().set_pred_score(torch.tensor([0.2, 0.7, 0.1])), presence=())
    assert answer.labels.tolist() == [1, 0, 2]
    assert answer.scores.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert answer.predicted == 'dog'
    assert repr(answer) == 'ImageAnswer(a.png; predicted dog 70%)'


def test_a_detector_gives_its_objects(make, objects):
    answer = make(objects)
    assert answer.boxes.shape == (3, 4)
    assert answer.masks.shape == (3, 6, 8)
    assert answer.labels.tolist() == [1, 1, 0]
    assert answer.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert '2 objects (2 dog); texts' in repr(answer)


def test_a_segmentor_gives_a_class_for_each_pixel(make):
    labels = torch.zeros(1, 6, 8, dtype=torch.long)
    labels[:, :, :2] = 2
    answer = make(BaseDataElement(pred_sem_seg=PixelData(data=labels)))
    assert answer.labels.shape == (6, 8)
    assert answer.scores is None
    assert 'areas: cat 75%, bird 25%' in repr(answer)


def test_the_strongest_of_many_texts_are_printed_and_drawn(make, monkeypatch):
    answer = make(presence=tuple(0.05 * i for i in range(12)))
    assert repr(answer).endswith('texts: text 11 55%, text 10 50%, text 9 45%, text 8 40%, text 7 35%, …)')
    drawn = []
    monkeypatch.setattr(
        image_answers, 'draw_result', lambda result, names, texts: drawn.append(texts) or result.image
    )
    answer.draw()
    assert drawn == [[11, 10, 9, 8, 7, 6, 5, 4, 3]]


def test_answers_draw_themselves_in_a_notebook(make, objects, monkeypatch):
    for drawable in (make(), ImageAnswers([make(objects), make()])):
        picture = Image.open(io.BytesIO(drawable._repr_png_()))
        assert picture.format == 'PNG'
        assert picture.size == drawable.draw().size
    shown = []
    monkeypatch.setitem(sys.modules, 'IPython', SimpleNamespace(get_ipython=lambda: True))
    monkeypatch.setitem(sys.modules, 'IPython.display', SimpleNamespace(display=shown.append))
    drawable.show()
    assert shown == [drawable]


def test_elsewhere_a_file_is_written_and_opened_if_there_is_a_screen(make, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(image_answers.ImageShow, 'show', opened.append)
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    monkeypatch.delenv('DISPLAY', raising=False)
    make().show()
    text, file = capsys.readouterr().out.splitlines()
    assert text == repr(make())
    assert Image.open(file).size == make().draw().size
    assert not opened
    monkeypatch.setenv('DISPLAY', ':0')
    make().show()
    assert len(opened) == 1


def test_a_list_prints_its_first_answers(make):
    text = repr(ImageAnswers([make()] * 7))
    assert text.splitlines()[0] == 'ImageAnswers, 7 images'
    assert len(text.splitlines()) == 7
    assert text.endswith('…')
    assert ImageAnswers().draw().size == (1, 1)
