import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import chance_level, pointing_game


def test_hand_made_cases():
    maps = torch.zeros(3, 2, 2)
    maps[0, 0, 1] = 1  # upper right
    maps[1, 1, 0] = 1  # lower left
    maps[2, 1, 1] = 1  # lower right
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, 4:] = True
    masks[1, :4, 4:] = True
    masks[2, 5:, 5:] = True
    assert pointing_game(maps, masks).tolist() == [1, 0, 1]


def test_negative_maps_are_ranked_too():
    maps = torch.tensor([[[-3.0, -1.0], [-2.0, -5.0]]])
    mask = torch.tensor([[[False, True], [False, False]]])
    assert pointing_game(maps, mask).tolist() == [1]


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


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 9), area=st.floats(0.1, 0.9))
def test_random_maps_hit_at_chance(seed, size, area):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(1, 16, 16, generator=generator).lt(area).expand(2000, -1, -1)
    # A spike at a random pixel: maps of the masks' own size are not resized.
    maps = torch.zeros(2000, 256)
    maps.scatter_(1, torch.randint(256, (2000, 1), generator=generator), float(size))
    hits = pointing_game(maps.view(2000, 16, 16), masks)
    assert hits.mean().item() == pytest.approx(chance_level(masks), abs=0.06)


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
def test_bad_arguments_are_named(maps, masks, words):
    with pytest.raises(ValueError, match=words):
        pointing_game(maps, masks)


def test_chance_needs_objects():
    with pytest.raises(ValueError, match='masks is empty'):
        chance_level(torch.zeros(0, 4, 4, dtype=torch.bool))
