"""`lfi.ask`: a teacher answers."""

import lfi
import numpy as np
import pytest
from lfi.errors import UsageError
from PIL import Image


def test_a_teacher_answers_about_images_of_any_kind(photos):
    file = photos / 'photo0.png'
    answer = lfi.ask(file, ['circle', 'star'], teacher='shapes-tiny', device='cpu')
    assert answer.texts == ('circle', 'star')
    # The picture shows a blue circle.
    assert answer.presence[0] > answer.presence[1]
    assert answer.labels is None
    answers = lfi.ask(
        [Image.open(file), np.asarray(Image.open(file))],
        ['circle', 'star'],
        teacher='shapes-tiny',
        device='cpu',
    )
    for other in answers:
        assert other.presence == pytest.approx(answer.presence, rel=1e-4)
        assert other.maps == pytest.approx(answer.maps, rel=1e-4, abs=1e-5)


def test_mistakes_are_named_in_words_of_python(photos):
    with pytest.raises(UsageError, match=r'^teacher shapes-tny is not a folder.*Did you mean shapes-tiny'):
        lfi.ask(photos / 'photo0.png', 'star', teacher='shapes-tny')
    with pytest.raises(UsageError, match=r"images='nowhere.png' does not exist"):
        lfi.ask('nowhere.png', 'star', teacher='shapes-tiny')
