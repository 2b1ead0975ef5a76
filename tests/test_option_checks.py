"""What the options of a config may be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.option_checks import check_flags, check_options, check_positive, check_weights, check_whole

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
    check_options(some=dict(a=1), none={})
    with pytest.raises(ValueError, match="^no='no' must be True or False"):
        check_flags(yes=True, no='no')
    with pytest.raises(ValueError, match='^stem=True must be a dict'):
        check_options(some={}, stem=True)
