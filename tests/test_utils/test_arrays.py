import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from lfi.utils.arrays import evenly_spaced


@given(st.integers(0, 200), st.integers(1, 200))
def test_indices_are_spread_over_all(total, count):
    chosen = evenly_spaced(total, count)
    assert len(set(chosen)) == len(chosen) == min(total, count)
    assert chosen[:1] == [0][:total]
    if len(chosen) > 1:
        assert chosen[-1] == total - 1
        gaps = np.diff(chosen)
        assert gaps.max() - gaps.min() <= 1
