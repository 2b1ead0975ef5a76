import pytest

from research.studies import Run, paired_table
from research.studies.paired import spread


def runs(*values):
    return [Run(str(i), (0.0, value), 1.0, {}, 'mask AP') for i, value in enumerate(values)]


def test_the_last_epochs_differ_by_pairs():
    table = paired_table([(runs(10.0, 20.0, 30.0), runs(11.0, 22.0, 33.0))])
    # t of 2 degrees of freedom is 4.303; the differences 1, 2, 3 have a standard error of 0.577.
    row = '| mask AP | 3 | 20.0 ± 10.0 | 22.0 ± 11.0 | +2.0 (-0.5 to +4.5) |'
    assert table.splitlines()[2] == row


@pytest.mark.parametrize('method', [(1.0,), (1.0, 2.0)])
def test_runs_that_are_no_pairs_are_refused(method):
    with pytest.raises(ValueError, match='give the same number of both'):
        paired_table([(runs(1.0), runs(*method))])


def test_a_spread_is_that_of_a_sample_and_one_value_has_none():
    assert spread([1.0, 2.0, 3.0]) == 1.0
    assert spread([[1.0, 5.0], [3.0, 5.0]]).tolist() == pytest.approx([2**0.5, 0.0])
    assert spread([7.0]) == 0.0
