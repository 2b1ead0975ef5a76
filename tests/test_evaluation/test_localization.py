import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import (
    MEASURES,
    centre_map,
    energy_pointing_game,
    localization,
    map_average_precision,
)


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
def test_measures_equal_their_definition(seed, n, height, width):
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


def test_a_flat_map_is_as_good_as_chance():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, 0] = masks[1, 3] = True
    for measure, values in localization(torch.full((2, 2, 2), -3.0), masks).items():
        assert values.tolist() == pytest.approx([0.25, 0.25]), measure


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


def test_a_perfect_map_is_perfect():
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3
    for values in localization(masks.float(), masks).values():
        torch.testing.assert_close(values, torch.ones(3))


def test_random_maps_are_as_precise_as_the_area_is_large():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(1, 16, 16, generator=generator).lt(0.3).expand(500, -1, -1)
    maps = torch.rand(500, 16, 16, generator=generator)
    share = masks[0].float().mean().item()
    assert map_average_precision(maps, masks).mean().item() == pytest.approx(share, abs=0.03)
    assert energy_pointing_game(maps, masks).mean().item() == pytest.approx(share, abs=0.02)


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
