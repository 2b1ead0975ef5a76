"""Texts with characters that matplotlib's default font lacks."""

import warnings as python_warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lfi.apis import InteractionResult, draw_result
from lfi.pseudo_labels.drawing import draw_labels
from lfi.pseudo_labels.written_labels import image_record
from lfi.visualization import draw_teachers, fonts
from mmengine.structures import BaseDataElement

# Of the fonts that come with matplotlib STIXGeneral has the one, and none has the other.
WATCH, DOG = '\u231a', '犬'
IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def stix(monkeypatch):
    """STIXGeneral in the place of the fonts for Chinese, Japanese and Korean; nothing was warned of."""
    monkeypatch.setattr(fonts, 'CJK', ('STIXGeneral',))
    monkeypatch.setattr(fonts, '_warned', [])
    fonts._installed_fonts.cache_clear()
    with python_warnings.catch_warnings():
        python_warnings.simplefilter('error')
        yield
    fonts._installed_fonts.cache_clear()


@pytest.fixture(autouse=True)
def no_open_figures():
    """No figures are left of other tests, and of these."""
    plt.close('all')
    yield
    plt.close('all')


def pictured(text):
    """A result's picture with a text."""
    maps = torch.full((1, 2, 2), 0.25)
    nothing, view = BaseDataElement(), torch.eye(2, 3)
    asked = InteractionResult('a', None, IMAGE, nothing, (text,), torch.ones(1), maps, view)
    return draw_result(asked, (), [0])


def labelled(text):
    """A picture of labels."""
    draw_labels([IMAGE], [image_record('a', (8, 8), {0: 0.9}, [])], [text]).canvas.draw()


def compared(text):
    """A picture of teachers."""
    region = np.zeros((8, 8), bool)
    draw_teachers([(IMAGE, region, text, {'own': torch.rand(2, 2)})]).canvas.draw()


@pytest.mark.parametrize('draw', [pictured, labelled, compared])
def test_an_installed_font_draws_what_the_default_lacks(draw, warnings):
    # matplotlib warns of a glyph that it lacks.
    draw(f'{WATCH} and a dog')
    assert not warnings


def test_glyphs_are_drawn_and_other_texts_stay_as_they_are(monkeypatch):
    drawn, plain = pictured(WATCH), pictured('cat')
    monkeypatch.setattr(fonts, 'CJK', ())
    fonts._installed_fonts.cache_clear()
    assert (pictured('cat') == plain).all()
    boxes = pictured(WATCH)
    assert drawn.shape == boxes.shape and (drawn != boxes).any()


@pytest.mark.parametrize('draw', [pictured, labelled, compared])
def test_a_text_without_a_font_is_named_once(draw, warnings):
    draw(f'{DOG} {WATCH}')
    draw('猫')
    (warning,) = warnings
    assert f'{DOG} {WATCH}' in warning and 'Noto Sans CJK' in warning and '\n' not in warning
