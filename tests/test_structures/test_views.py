import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.structures import image_windows
from lfi.structures.views import interpolation_weights, is_axis_aligned, separable_interpolation_weights

WHOLE = torch.eye(2, 3)[None]


def test_the_parts_of_a_canvas_that_pictures_fill():
    windows = image_windows((40, 60), [(40, 60), (20, 15)], 'cpu')
    torch.testing.assert_close(windows[0], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(windows[1], torch.tensor([[0.0, 0.25], [0.0, 0.5]]))


def read(cells, grid, across=(0.0, 1.0), view=WHOLE):
    """Weights and shares of the one image's locations."""
    weights, share = interpolation_weights(view, cells, grid, torch.tensor([[across, (0.0, 1.0)]]))
    return weights[0], share[0]


def test_a_location_of_one_cell_reads_it():
    weights, share = read((2, 3), (2, 3))
    torch.testing.assert_close(weights.flatten(2).flatten(0, 1), torch.eye(6))
    torch.testing.assert_close(share, torch.ones(2, 3))


def test_a_location_of_two_and_a_half_cells_reads_each_by_its_part():
    weights, _ = read((1, 5), (1, 2))
    expected = torch.tensor([[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]])
    torch.testing.assert_close(weights[0, :, 0], expected)


def test_a_location_of_half_a_cell_interpolates():
    weights, _ = read((1, 2), (1, 4))
    expected = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    torch.testing.assert_close(weights[0, :, 0], expected)


def test_a_location_at_the_edge_of_a_crop_reads_no_cell_beyond_it():
    # The last two of four cells.
    weights, _ = read((1, 4), (1, 4), view=torch.tensor([[[0.5, 0, 0.5], [0, 1, 0]]]))
    assert not weights[..., :2].any()
    torch.testing.assert_close(weights.sum((-2, -1)), torch.ones(1, 4))


def test_the_filled_part_of_a_location_counts():
    weights, share = read((1, 6), (1, 4), across=(0.0, 0.375))
    # The view ends in the middle of the second location, which shows its last third.
    torch.testing.assert_close(share[0], torch.tensor([1.0, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(weights[0, 0, 0], torch.tensor([1, 1, 1, 1, 0, 0]) / 4)
    torch.testing.assert_close(weights[0, 1, 0], torch.tensor([0, 0, 0, 0, 1, 1]) / 2)


def test_a_view_in_the_middle_of_a_canvas():
    weights, share = read((1, 6), (1, 8), across=(0.3125, 0.6875))
    # It begins and ends in the middle of a location.
    torch.testing.assert_close(share[0], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(weights[0, 2, 0], torch.tensor([1.0, 0, 0, 0, 0, 0]))
    torch.testing.assert_close(weights[0, 3, 0], torch.tensor([0, 1, 1, 0, 0, 0]) / 2)
    torch.testing.assert_close(weights[0, 4, 0], torch.tensor([0, 0, 0, 1, 1, 0]) / 2)


def test_an_empty_window_shows_nothing():
    weights, share = read((1, 6), (1, 4), across=(0.3, 0.3))
    assert weights.isfinite().all() and share.max() < 1e-4


def test_what_lies_beyond_the_picture_has_no_weight():
    weights, share = read((1, 2), (1, 4), view=torch.tensor([[[2.0, 0, -1], [0, 1, 0]]]))
    torch.testing.assert_close(share[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert not weights[0, 0].any()


sides = st.integers(1, 6)


@given(
    st.tuples(sides, sides),
    st.tuples(sides, sides),
    st.lists(st.floats(-3, 3).filter(lambda scale: abs(scale) > 0.05), min_size=4, max_size=4),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    st.lists(st.tuples(st.floats(0, 0.6), st.floats(0.1, 0.4)), min_size=4, max_size=4),
)
def test_rows_and_columns_apart_are_read_as_together(cells, grid, scales, origins, windows):
    view = torch.zeros(2, 2, 3)
    view[:, 0, 0], view[:, 1, 1] = torch.tensor(scales).view(2, 2).T
    view[:, :, 2] = torch.tensor(origins).view(2, 2)
    window = torch.tensor(windows).cumsum(1).view(2, 2, 2)
    assert is_axis_aligned(view)
    weights, share = interpolation_weights(view, cells, grid, window)
    down, across, apart = separable_interpolation_weights(view, cells, grid, window)
    torch.testing.assert_close(down[:, :, None, :, None] * across[:, None, :, None], weights)
    torch.testing.assert_close(apart, share)


def test_a_view_that_rotates_or_shears_is_not_upright():
    for row, column in ((0, 1), (1, 0)):
        view = torch.eye(2, 3)[None].repeat(2, 1, 1)
        view[1, row, column] = 0.1
        assert not is_axis_aligned(view)
