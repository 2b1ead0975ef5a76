"""`concept_masks` against a loop over pixels."""

import math

import numpy as np
import pytest
import torch
from lfi.pseudo_labels import concept_masks, map_strength

SIZE = (9, 14)


def bilinear(heat, y, x):
    """A map's (h, w) value at a point in its cells' coordinates; beyond the outer cells' middles, theirs."""
    h, w = heat.shape
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = min(int(y), h - 1), min(int(x), w - 1)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    down, across = y - top, x - left
    upper = heat[top, left] * (1 - across) + heat[top, right] * across
    lower = heat[bottom, left] * (1 - across) + heat[bottom, right] * across
    return upper * (1 - down) + lower * down


def slow_masks(answers, present, threshold, shown=(0, 1, 0, 1)):
    """Pixel by pixel. `shown` is the part that the maps show: top, bottom, left and right shares."""
    height, width = SIZE
    top, bottom, left, right = shown
    maps = answers.maps[present].double().numpy()
    heat = np.full((len(present), height, width), math.nan)
    for p, each in enumerate(maps):
        for y in range(height):
            for x in range(width):
                v = ((y + 0.5) / height - top) / (bottom - top)
                u = ((x + 0.5) / width - left) / (right - left)
                if 0 <= v <= 1 and 0 <= u <= 1:
                    heat[p, y, x] = bilinear(each, v * each.shape[0] - 0.5, u * each.shape[1] - 0.5)
    masks = np.zeros(heat.shape, bool)
    strength = np.array([(h - np.nanmin(h)) / (np.nanmax(h) - np.nanmin(h)) for h in heat])
    for y in range(height):
        for x in range(width):
            rivals = (heat if answers.comparable else strength)[:, y, x]
            if not np.isnan(rivals).any():
                owner = int(np.argmax(rivals))
                masks[owner, y, x] = strength[owner, y, x] >= threshold
    return masks, strength


@pytest.mark.parametrize('comparable', [True, False])
@pytest.mark.parametrize('present', [[0], [2, 0], [1, 0, 2]])
def test_masks_are_those_of_a_loop_over_pixels(make_answers, comparable, present):
    for seed in range(5):
        answers = make_answers(seed, comparable=comparable)
        masks, strength = concept_masks(answers, present, SIZE, 0.45)
        expected, expected_strength = slow_masks(answers, present, 0.45)
        np.testing.assert_array_equal(masks.numpy(), expected)
        np.testing.assert_allclose(strength.numpy(), expected_strength, atol=1e-5)
        assert masks.dtype == torch.bool and masks.sum(0).max() == 1


def test_of_a_crop_nothing_outside_is_labelled(make_answers):
    # The maps show the middle three quarters of the width, and the upper two thirds.
    view = torch.tensor([[0.75, 0, 0], [0, 2 / 3, -1 / 3]])
    answers = make_answers(3, view=view)
    masks, strength = concept_masks(answers, [0, 1], SIZE, 0.3)
    expected, expected_strength = slow_masks(answers, [0, 1], 0.3, (0, 2 / 3, 0.125, 0.875))
    np.testing.assert_array_equal(masks.numpy(), expected)
    np.testing.assert_allclose(strength.numpy(), expected_strength, atol=1e-5)
    assert masks.any() and not masks[:, 6:].any() and strength[:, 6:].isnan().all()


def test_the_scale_of_a_map_does_not_count_unless_maps_compare(make_answers):
    answers = make_answers(1, comparable=False)
    scaled = make_answers(
        1, comparable=False, maps=answers.maps * torch.tensor([[[5.0]], [[1.0]], [[0.1]]]) + 7
    )
    for one, other in zip(*(concept_masks(each, [0, 1, 2], SIZE, 0.5) for each in (answers, scaled))):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    louder = make_answers(1, maps=answers.maps + torch.tensor([[[9.0]], [[0.0]], [[0.0]]]))
    masks, _ = concept_masks(louder, [0, 1, 2], SIZE, 0.0)
    assert masks[0].all() and not masks[1:].any()


def test_a_flat_map_is_nowhere_strong():
    flat = torch.full((2, 3, 3), 4.0)
    flat[1, 0, 0] = 5
    strength = map_strength(flat)
    assert not strength[0].any() and strength[1].sum() == 1
    unseen = torch.full((1, 3, 3), float('nan'))
    assert not (map_strength(unseen) >= 0).any()
