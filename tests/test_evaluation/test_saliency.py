import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import kl_divergence, normalized_scanpath_saliency, rank_correlations
from scipy.stats import entropy, spearmanr

SEEDS = st.integers(0, 2**31 - 1)


def positive(seed, *shape):
    return np.random.default_rng(seed).uniform(0.01, 1, shape)


@settings(max_examples=30)
@given(seed=SEEDS, count=st.integers(2, 4), places=st.integers(3, 30), steps=st.integers(2, 50))
def test_correlations_equal_scipys_with_ties_too(seed, count, places, steps):
    maps = np.random.default_rng(seed).integers(0, steps, (count, places)).astype(np.float32)
    maps[:, 0], maps[:, 1] = -1, steps
    found = rank_correlations(maps)
    assert found.shape == (count, count)
    for i in range(count):
        for j in range(count):
            assert found[i, j] == pytest.approx(spearmanr(maps[i], maps[j]).statistic, abs=1e-9)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_correlations_see_the_order_alone(seed):
    maps = positive(seed, 2, 20)
    found = rank_correlations(np.stack((maps[0], np.exp(5 * maps[0]), -maps[0], maps[1])))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert found[0, 3] == pytest.approx(found[1, 3])


def test_a_flat_map_correlates_with_nothing():
    maps = np.stack((np.full(9, 0.1, np.float32), np.arange(9, dtype=np.float32), np.ones(9, np.float32)))
    np.testing.assert_array_equal(rank_correlations(maps)[0], 0)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_nss_is_the_standardised_map_at_the_fixations(seed):
    rng = np.random.default_rng(seed)
    saliency, fixations = rng.normal(size=25), rng.integers(0, 4, 25)
    fixations[0] = 1
    # One by one, as people look.
    standardised = (saliency - np.mean(saliency)) / np.sqrt(np.mean((saliency - np.mean(saliency)) ** 2))
    looks = [standardised[place] for place, count in enumerate(fixations) for _ in range(count)]
    found = normalized_scanpath_saliency(saliency, fixations)
    assert found == pytest.approx(sum(looks) / len(looks))
    assert normalized_scanpath_saliency(3 * saliency + 7, fixations / 2) == pytest.approx(found)


def test_nss_of_a_flat_map_is_zero():
    assert normalized_scanpath_saliency(np.full(10, 0.1, np.float32), np.arange(10)) == 0


@settings(max_examples=30)
@given(seed=SEEDS)
def test_kl_equals_scipys_relative_entropy(seed):
    saliency, heat = positive(seed, 2, 30)
    found = kl_divergence(saliency, heat)
    assert found == pytest.approx(entropy(heat, saliency), rel=1e-9)
    assert kl_divergence(5 * saliency, heat / 3) == pytest.approx(found)
    assert kl_divergence(heat, heat) == pytest.approx(0, abs=1e-12)


def test_kl_of_a_map_that_misses_is_large_and_finite():
    found = kl_divergence(np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32))
    # log(1 / eps), as the benchmark's constant has it.
    assert found == pytest.approx(36.04, abs=0.01)
