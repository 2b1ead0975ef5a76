import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import (
    MEASURES,
    centre_map,
    chance_level,
    kl_divergence,
    localization,
    map_average_precision,
    normalized_scanpath_saliency,
    pointing_game,
    rank_correlations,
    region_iou,
)
from scipy.stats import entropy, spearmanr


def slow_average_precision(scores, labels):
    """Mean precision at each positive, by descending score."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    hits, total = 0, 0.0
    for rank, i in enumerate(order, 1):
        if labels[i]:
            hits += 1
            total += hits / rank
    return total / hits


def slow_energy(scores, labels):
    low, high = min(scores), max(scores)
    values = [(s - low) / (high - low) for s in scores]
    return sum(v for v, inside in zip(values, labels) if inside) / sum(values)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 4), height=st.integers(2, 6), width=st.integers(2, 6))
def test_localization_measures_equal_their_definition(seed, n, height, width):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(n, height, width, generator=generator)
    masks = torch.rand(n, height, width, generator=generator) < 0.4
    masks[:, 0, 0] = True
    found = localization(maps, masks)
    assert tuple(found) == MEASURES
    for i in range(n):
        scores, labels = maps[i].flatten().tolist(), masks[i].flatten().tolist()
        assert found['pointing'][i] == labels[scores.index(max(scores))]
        assert found['energy'][i] == pytest.approx(slow_energy(scores, labels), rel=1e-4)
        assert found['average_precision'][i] == pytest.approx(
            slow_average_precision(scores, labels), rel=1e-3
        )


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), levels=st.integers(1, 4))
def test_equal_values_count_together(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(levels, (2, 5, 5), generator=generator).float()
    masks = torch.rand(2, 5, 5, generator=generator) < 0.4
    masks[:, 0, 0] = True
    found = map_average_precision(maps, masks)
    for i in range(2):
        # The sum over thresholds of the recall that each adds, times its precision.
        expected, before = 0.0, 0
        for threshold in range(levels, -1, -1):
            taken = maps[i] >= threshold
            hits = (taken & masks[i]).sum().item()
            expected += (hits - before) / masks[i].sum().item() * hits / max(1, taken.sum().item())
            before = hits
        assert found[i].item() == pytest.approx(expected, rel=1e-5)


def test_the_centre_map_is_a_gaussian_of_half_the_half_side():
    found = centre_map((4, 6))
    assert found.shape == (4, 6)
    torch.testing.assert_close(found, found.flip(0, 1))
    y, x = (0 + 0.5) / 4 * 2 - 1, (1 + 0.5) / 6 * 2 - 1
    assert found[0, 1].item() == pytest.approx(math.exp(-((y / 0.5) ** 2 + (x / 0.5) ** 2) / 2), rel=1e-5)


def test_masks_must_be_masks():
    with pytest.raises(ValueError, match=r'masks is \(2, 4, 4\) torch.float32: expected'):
        localization(torch.zeros(2, 4, 4), torch.zeros(2, 4, 4))


@settings(max_examples=30, deadline=None)
@given(
    grid=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    size=st.tuples(st.integers(9, 60), st.integers(9, 60)),
    value=st.sampled_from([0.1, 1 / 3, 1 / 49, -7.7]),
)
def test_a_flat_map_stays_flat_at_any_size(grid, size, value):
    masks = torch.zeros(1, *size, dtype=torch.bool)
    masks[0, 2:7, 1:6] = True
    share = masks.float().mean().item()
    for measure, values in localization(torch.full((1, *grid), value), masks).items():
        assert values.item() == pytest.approx(share, rel=1e-5), measure


def test_hand_made_cases_of_the_pointing_game():
    maps = torch.zeros(3, 2, 2)
    maps[0, 0, 1] = 1  # upper right
    maps[1, 1, 0] = 1  # lower left
    maps[2, 1, 1] = 1  # lower right
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, 4:] = True
    masks[1, :4, 4:] = True
    masks[2, 5:, 5:] = True
    assert pointing_game(maps, masks).tolist() == [1, 0, 1]


@pytest.mark.parametrize('value', [0.1, 0.3, 1 / 3, 0.7])
def test_a_plateau_is_hit_by_the_share_of_it_in_the_mask(value):
    maps = torch.zeros(1, 4, 4)
    maps[:, :, :2] = value
    masks = torch.zeros(1, 37, 40, dtype=torch.bool)
    masks[..., :5] = True
    # As far as the middle of its last cell nothing is mixed in.
    assert pointing_game(maps, masks).item() == pytest.approx(5 / 15)


def test_chance_level_is_the_mean_area():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = True
    masks[1, 0, 0] = True
    assert chance_level(masks) == pytest.approx((8 / 16 + 1 / 16) / 2)


def test_no_object():
    assert pointing_game(torch.zeros(0, 2, 2), torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0,)


@pytest.mark.parametrize(
    'maps, masks, words',
    [
        (torch.zeros(2, 4), torch.ones(2, 4, 4, dtype=torch.bool), r'maps is \(2, 4\)'),
        (torch.zeros(1, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool), r'maps is \(1, 4, 4\).*N of masks, 2'),
        (torch.zeros(2, 4, 4), torch.ones(2, 4, 4), 'masks is .*float32'),
        (torch.full((1, 4, 4), torch.nan), torch.ones(1, 4, 4, dtype=torch.bool), 'not finite'),
    ],
)
def test_bad_arguments_of_the_pointing_game_are_named(maps, masks, words):
    with pytest.raises(ValueError, match=words):
        pointing_game(maps, masks)


def test_chance_needs_objects():
    with pytest.raises(ValueError, match='masks is empty'):
        chance_level(torch.zeros(0, 4, 4, dtype=torch.bool))


REGION_SEEDS = st.integers(0, 2**31 - 1)


def draw_regions(seed, n=3, height=5, width=7):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(n, height, width, generator=generator) < 0.4
    masks[:, 0, 0] = True
    return torch.randn(n, height, width, generator=generator), masks


@settings(max_examples=30)
@given(seed=REGION_SEEDS)
def test_region_iou_equals_its_definition_and_sees_the_order_alone(seed):
    maps, masks = draw_regions(seed)
    found = region_iou(maps, masks)
    for values, inside, iou in zip(maps.flatten(1).tolist(), masks.flatten(1).tolist(), found.tolist()):
        size = sum(inside)
        strongest = set(sorted(range(len(values)), key=lambda i: -values[i])[:size])
        region = {i for i, here in enumerate(inside) if here}
        assert iou == pytest.approx(len(strongest & region) / len(strongest | region))
    torch.testing.assert_close(region_iou(maps.exp() * 3 - 1, masks), found)


@pytest.mark.parametrize(
    ('maps', 'masks', 'words'),
    [
        (torch.zeros(1, 2, 2), torch.ones(1, 4, 4, dtype=torch.bool), r'maps is \(1, 2, 2\).*\(1, 4, 4\)'),
        (torch.zeros(1, 4, 4), torch.ones(1, 4, 4), 'masks is .*float32'),
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool), r'masks is empty for \[0, 1\]'),
    ],
)
def test_bad_arguments_of_region_iou_are_named(maps, masks, words):
    with pytest.raises(ValueError, match=words):
        region_iou(maps, masks)


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
