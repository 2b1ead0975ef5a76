import sys
from unicodedata import category

import pytest
from lfi.plain_text import plain_text


def test_controls_and_surrogates_are_not_plain():
    refused = {char for char in map(chr, range(sys.maxunicode + 1)) if not plain_text(f'a{char}b')}
    controls = {char for char in map(chr, range(sys.maxunicode + 1)) if category(char) in ('Cc', 'Cs')}
    assert refused == controls - {'\n', '\t'}


@pytest.mark.parametrize('text', ['', 'dog', '犬', 'नमस्\u200dते', 'a\tb\nc', 'x' * 1000])
def test_names_of_any_language_are_plain(text):
    assert plain_text(text)


def test_a_long_text_is_not_plain():
    assert not plain_text('x' * 1001)
