"""What messages say of a wrong name, and which errors are the user's."""

import pytest
from lfi.errors import UsageError, as_usage_error, did_you_mean, similar_names


@pytest.mark.parametrize('error', [ValueError('no such layer'), UsageError('no such layer')])
def test_an_error_of_the_kind_is_the_users(error):
    with pytest.raises(UsageError, match='^no such layer$') as found, as_usage_error(OSError, ValueError):
        raise error
    assert found.value.__cause__ is error


def test_other_errors_and_none_pass():
    with pytest.raises(KeyError), as_usage_error(ValueError):
        raise KeyError('layer')
    with as_usage_error(ValueError):
        passed = True
    assert passed


def test_names_near_a_wrong_one_are_listed():
    assert similar_names(['train', 'trains']) == 'similar names are train, trains'
    assert similar_names([]) == 'no name is similar'


def test_the_nearest_word_is_named_and_none_where_none_is_near():
    assert did_you_mean('trian', ['test', 'train']) == 'did you mean train?'
    assert did_you_mean('xyz', ['test', 'train']) == ''
