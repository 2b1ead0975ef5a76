"""Names of splits."""

import pytest
from lfi.new_config.reading.splits import choose_splits


@pytest.mark.parametrize(
    ('names', 'train', 'val', 'note'),
    [
        (['train', 'val'], 'train', 'val', None),
        (['train', 'val', 'test'], 'train', 'val', 'the split test is left out: val validates'),
        (['Training', 'Valid'], 'Training', 'Valid', None),
        (['train', 'test'], 'train', 'test', 'the split test validates, and so chooses the best checkpoint'),
        (['train'], 'train', None, None),
        (['cat', 'dog'], None, None, None),
    ],
)
def test_the_split_that_validates_is_not_the_test_split_if_there_is_another(names, train, val, note):
    splits = choose_splits(names)
    assert (splits.train, splits.val) == (train, val)
    assert len(splits.notes) == (note is not None) and all(note in found for found in splits.notes)
