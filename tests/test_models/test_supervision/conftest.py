"""Means for parts that stand alone."""

import pytest
from lfi.models.losses.means import RunningMean


@pytest.fixture
def means_of():
    """`means_of(part)` is what `with_means` takes, empty."""
    return lambda part: {name: RunningMean() for name in part.mean_names}
