"""What messages say of a wrong name."""

from lfi.errors import near_it, nearest


def test_names_near_a_wrong_one_are_listed():
    assert near_it(['train', 'trains']) == 'near it are train, trains'
    assert near_it([]) == 'none has a name near it'


def test_the_nearest_word_is_named_and_none_where_none_is_near():
    assert nearest('trian', ['test', 'train']) == 'did you mean train?'
    assert nearest('xyz', ['test', 'train']) == ''
