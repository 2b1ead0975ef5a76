"""Maps of whole images in the views that a student is shown, on its grid, with padding or without."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import (
    BatchMixture,
    BatchView,
    ImageFeatures,
    InteractionMaps,
    PixelFormat,
    StudentGrid,
    Tiles,
    maps_in_view,
    mix_maps,
    place_images,
)

PATCH = 8
CONCEPTS = 3
cells = st.integers(1, 5)
few_examples = settings(max_examples=30)


def maps(b, seed=0, grid=(6, 6)):
    generator = torch.Generator().manual_seed(seed)
    return InteractionMaps(
        logits=torch.randn(b, 1, CONCEPTS, *grid, generator=generator),
        presence=torch.rand(b, CONCEPTS, generator=generator),
        valid=torch.ones(b, *grid, dtype=torch.bool),
    )


def grid_of(shape):
    return StudentGrid(shape, (PATCH * shape[0], PATCH * shape[1]))


def views(*rows):
    return torch.tensor(rows)


FLIP = [[-1.0, 0, 0], [0, 1, 0]]
SAME = [[1.0, 0, 0], [0, 1, 0]]
LEFT = [[0.5, 0, -0.5], [0, 1, 0]]


@given(shape=st.tuples(cells, cells))
def test_of_whole_images_they_are_resized(shape):
    grid, whole = grid_of(shape), maps(2)
    found, expected = maps_in_view(whole, grid, [grid.canvas] * 2), whole.resize(shape)
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.valid.all() and found.presence.equal(whole.presence)


@given(shape=st.tuples(cells, cells))
def test_of_views_they_are_warped(shape):
    grid, whole, seen = grid_of(shape), maps(3), views(SAME, FLIP, LEFT)
    found = maps_in_view(whole, grid, [grid.canvas] * 3, seen)
    torch.testing.assert_close(found.logits, whole.warp(seen, shape).logits)
    resized = whole.resize(shape).logits
    torch.testing.assert_close(found.logits[0], resized[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits[1], resized[1].flip(-1), rtol=1e-4, atol=1e-4)


@few_examples
@given(
    shape=st.tuples(cells, cells),
    sizes=st.lists(st.tuples(cells, cells), min_size=1, max_size=3),
    view=st.sampled_from([None, SAME, FLIP, LEFT]),
)
def test_of_padded_images_they_are_those_of_the_images_and_nothing_beside_them(shape, sizes, view):
    grid, whole = grid_of(shape), maps(len(sizes))
    inside = [(min(h, shape[0]), min(w, shape[1])) for h, w in sizes]
    pixels = [(PATCH * h, PATCH * w) for h, w in inside]
    seen = None if view is None else views(*[view] * len(sizes))
    found = maps_in_view(whole, grid, pixels, seen)
    for b, (h, w) in enumerate(inside):
        expected = torch.zeros(shape, dtype=torch.bool)
        expected[:h, :w] = True
        assert found.valid[b].equal(expected)
        alone = InteractionMaps(whole.logits[b : b + 1], whole.presence[b : b + 1], whole.valid[b : b + 1])
        alone = alone.warp(views(view or SAME), (h, w))
        torch.testing.assert_close(found.logits[b, ..., :h, :w], alone.logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('pixels', 'rows'), [(12, 2), (11, 1), (8, 1), (4, 1), (3, 1)])
def test_a_location_is_valid_where_half_of_it_shows_the_image(pixels, rows):
    """An image that is smaller than a location has one all the same."""
    grid = grid_of((4, 4))
    valid = maps_in_view(maps(1), grid, [(pixels, 32)]).valid[0]
    assert valid.all(1).tolist() == [row < rows for row in range(4)]


def pictures(b, grid, sizes, **fields):
    return BatchView(torch.zeros(b, 3, *grid.canvas), PixelFormat.raw(), sizes, **fields)


def mixed(whole, grid, batch, seen):
    placement = place_images(batch, seen, grid)
    return mix_maps(placement.warp(placement.take(whole)), placement.share)


def semantic_log_probs(found):
    return found.semantic_log_probs().exp().masked_fill(~found.valid[:, None, None], 0)


@few_examples
@given(shape=st.tuples(cells, cells), size=st.tuples(cells, cells), view=st.sampled_from([SAME, FLIP, LEFT]))
def test_a_picture_of_one_image_has_its_maps(shape, size, view):
    """Whether or not the batch has mosaics, or was mixed with itself."""
    grid, whole, seen = grid_of(shape), maps(2), views(view, SAME)
    sizes = [(PATCH * min(size[0], shape[0]), PATCH * min(size[1], shape[1])), grid.canvas]
    expected = maps_in_view(whole, grid, sizes, seen)
    tiles = pictures(2, grid, sizes, tiles=[Tiles.whole(each) for each in seen])
    itself = pictures(2, grid, sizes, mixture=BatchMixture(torch.tensor([0, 1]), grid.canvas, 0.3))
    for view in (tiles, itself):
        found = mixed(whole, grid, view, seen).check()
        assert found.valid.equal(expected.valid)
        torch.testing.assert_close(
            semantic_log_probs(found), semantic_log_probs(expected), rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(found.presence, expected.presence, rtol=1e-4, atol=1e-5)


def test_a_blend_is_the_mean_of_both_over_concepts():
    grid, whole, seen = grid_of((4, 4)), maps(2), views(SAME, FLIP)
    mixture = BatchMixture(torch.tensor([1, 0]), grid.canvas, 0.3)
    view = pictures(2, grid, [grid.canvas] * 2, mixture=mixture)
    p = semantic_log_probs(maps_in_view(whole, grid, [grid.canvas] * 2, seen))
    found = mixed(whole, grid, view, seen)
    torch.testing.assert_close(semantic_log_probs(found), 0.3 * p + 0.7 * p[[1, 0]], rtol=1e-3, atol=1e-4)


@settings(deadline=None)
@given(own=st.tuples(st.integers(1, 9), st.integers(1, 9)), grid=st.tuples(cells, cells))
def test_features_come_to_a_grid_as_maps_do(own, grid):
    locations = torch.randn(2, 6, *own, generator=torch.Generator().manual_seed(0))
    found = ImageFeatures(torch.zeros(2, 6), torch.zeros(2, 3), locations).locations_on(grid)
    kept = InteractionMaps(locations[:, None], torch.ones(2, 6), torch.ones(2, *own, dtype=torch.bool))
    torch.testing.assert_close(found, kept.resize(grid).logits[:, 0])
    if own[0] % grid[0] == own[1] % grid[1] == 0:
        size = own[0] // grid[0], own[1] // grid[1]
        torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(locations, size))
