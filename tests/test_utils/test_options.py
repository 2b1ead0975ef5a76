"""Checks of options, typed values, and texts that can be printed."""

import math
import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.utils.options import (
    check_dicts,
    check_flags,
    check_positive,
    check_weights,
    check_whole,
    format_option,
    is_plain_text,
    option_in_message,
    parse_value,
)
from mmengine.config import DictAction

NO_NUMBERS = (None, 'one', '1', True, False, [1.0], math.nan, math.inf, -math.inf)


@given(st.floats(min_value=0, allow_infinity=False) | st.integers(min_value=0))
def test_numbers(value):
    check_weights(weight=value)
    if value:
        check_positive(scale=value)
        with pytest.raises(ValueError, match='^weight=-'):
            check_weights(weight=-value)
    else:
        with pytest.raises(ValueError, match='^scale=0.* must be a number above 0'):
            check_positive(scale=value)


@pytest.mark.parametrize('value', NO_NUMBERS)
def test_what_is_no_number(value):
    for check in (check_weights, check_positive):
        with pytest.raises(ValueError, match='^second=.* must be a number'):
            check(first=1, second=value)


@pytest.mark.parametrize('value', [*NO_NUMBERS, 1, 2.0, -3])
def test_what_is_no_whole_number_of_two_or_more(value):
    check_whole(2, first=2, second=3)
    with pytest.raises(ValueError, match='^third=.* must be a whole number of 2 or more'):
        check_whole(2, first=2, third=value)


def test_flags_and_dicts():
    check_flags(yes=True, no=False)
    check_dicts(some=dict(a=1), none={})
    with pytest.raises(ValueError, match="^no='no' must be True or False"):
        check_flags(yes=True, no='no')
    with pytest.raises(ValueError, match='^stem=True must be a dict'):
        check_dicts(some={}, stem=True)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('a drawing', 'a drawing'),
        ("'a drawing of {}'", 'a drawing of {}'),
        ("['a drawing of a {}','{}']", ['a drawing of a {}', '{}']),
        ('["red, or blue", "(a [b"]', ['red, or blue', '(a [b']),
        ('[red circle, star]', ['red circle', 'star']),
        ("['red circle', star]", ['red circle', 'star']),
        ("[['a b'], ('1', 'None')]", [['a b'], (1, None)]),
        ('red circle, star', ['red circle', 'star']),
        ('[ 3, 7 ]', [3, 7]),
        ('( 100 , 150 )', (100, 150)),
        ('(3)', (3,)),
        ('[]', []),
        ("{'a': 1}", "{'a': 1}"),
        ('"red, or blue"', 'red, or blue'),
        ("'it's'", "it's"),
        ("'[3,7]'", [3, 7]),
        ("'3'", 3),
        ('"a","b"', ['a', 'b']),
        ("('layer4')", ('layer4',)),
        ('[ ]', []),
        ('[1, ]', [1]),
        ('(1, )', (1,)),
        ('[1,2],[3,4]', [[1, 2], [3, 4]]),
        ('a photo (of a, b)', 'a photo (of a, b)'),
        ('dict(a=1,b=2)', 'dict(a=1,b=2)'),
        ('a photo (of', 'a photo (of'),
        ("it's, what's", ["it's", "what's"]),
        (r"'\bfoo'", r'\bfoo'),
        (r"['a\nb']", [r'a\nb']),
        ('""', ''),
    ],
)
def test_texts_keep_their_spaces(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


WORDS = st.sampled_from(
    ['a', 'best-location', '3', '-1', '2.5', '1e-3', 'true', 'False', 'None', '{}', 'x=y']
)


@given(
    st.recursive(
        WORDS,
        lambda inner: st.tuples(st.sampled_from(['[]', '()']), st.lists(inner, max_size=3)).map(
            lambda found: f'{found[0][0]}{",".join(found[1])}{found[0][1]}'
        ),
    )
)
def test_values_are_those_of_mmengine(text):
    value = DictAction._parse_iterable(text)
    assert parse_value(text) == value and repr(parse_value(text)) == repr(value)


@pytest.mark.parametrize('text', ['[1, (2]', 'a(b, c', '[(])', '[' * 5000])
def test_brackets_that_do_not_fit(text):
    with pytest.raises(ValueError, match='unbalanced brackets'):
        parse_value(text)


@pytest.mark.parametrize(
    'value',
    ['two, words', 'a', '3.5x', ['a drawing of a {}', 'a, b'], ("it's",), [[1, 2.5], [None, True]], 7],
)
def test_a_printed_option_means_the_same(value):
    key, text = format_option('a.b', value).split('=', 1)
    assert key == 'a.b' and parse_value(text) == value


@pytest.mark.parametrize('key', ['data_root', 'model.teacher.cache'])
def test_a_printed_folder_stays_as_it_is(key):
    assert format_option(key, 'my maps, 2/[1]') == f'{key}=my maps, 2/[1]'


@pytest.mark.parametrize(
    ('message', 'value', 'found'),
    [
        ('teacher folder not found: /a/clip. In our configs', '/a/clip', True),
        ('there is no model ViT-B-33', 'ViT-B-33', True),
        ('there is no model ViT-B-33-quickgelu', 'ViT-B-33', False),
        ('No such file or directory: photos/cat/1.jpg', 'photos/', True),
        ("data_root='photos' must be a folder", 'photos', True),
        ('none of the photos can be read', 'photos', False),
        ('--cfg-options a.b=x/y: the config has no a', 'x/y', False),
        ('embed_dims=3 must be even', 3, False),
        ('what is wrong', '', False),
        ('C:\\photos is missing', 'C:\\photos', True),
    ],
)
def test_a_message_with_the_text_of_an_option_names_it(message, value, found):
    expected = f' (from --cfg-options a.b={value})' if found else ''
    assert option_in_message(message, {'c': None, 'a.b': value}) == expected


def test_controls_and_surrogates_are_not_plain():
    refused = {char for char in map(chr, range(sys.maxunicode + 1)) if not is_plain_text(f'a{char}b')}
    controls = {char for char in map(chr, range(sys.maxunicode + 1)) if category(char) in ('Cc', 'Cs')}
    assert refused == controls - {'\n', '\t'}


@pytest.mark.parametrize('text', ['', 'dog', '犬', 'नमस्\u200dते', 'a\tb\nc', 'x' * 1000])
def test_names_of_any_language_are_plain(text):
    assert is_plain_text(text)


def test_a_long_text_is_not_plain():
    assert not is_plain_text('x' * 1001)
