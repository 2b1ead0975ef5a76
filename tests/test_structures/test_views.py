import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.structures import filled_share
from lfi.structures.views import is_upright, read_upright_view, read_view

WHOLE = torch.eye(2, 3)[None]


def test_the_share_of_a_canvas_that_pictures_fill():
    share = filled_share((40, 60), [(40, 60), (20, 15)], 'cpu')
    torch.testing.assert_close(share, torch.tensor([[1.0, 1.0], [0.25, 0.5]]))


def read(cells, grid, filled=(1.0, 1.0), view=WHOLE):
    """Weights and shares of the one image's locations."""
    weights, share = read_view(view, cells, grid, torch.tensor([filled]))
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
    weights, share = read((1, 6), (1, 4), filled=(0.375, 1.0))
    # The view ends in the middle of the second location, which shows its last third.
    torch.testing.assert_close(share[0], torch.tensor([1.0, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(weights[0, 0, 0], torch.tensor([1, 1, 1, 1, 0, 0]) / 4)
    torch.testing.assert_close(weights[0, 1, 0], torch.tensor([0, 0, 0, 0, 1, 1]) / 2)


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
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4),
)
def test_rows_and_columns_apart_are_read_as_together(cells, grid, scales, origins, filled):
    view = torch.zeros(2, 2, 3)
    view[:, 0, 0], view[:, 1, 1] = torch.tensor(scales).view(2, 2).T
    view[:, :, 2] = torch.tensor(origins).view(2, 2)
    filled = torch.tensor(filled).view(2, 2)
    assert is_upright(view)
    weights, share = read_view(view, cells, grid, filled)
    down, across, apart = read_upright_view(view, cells, grid, filled)
    torch.testing.assert_close(down[:, :, None, :, None] * across[:, None, :, None], weights)
    torch.testing.assert_close(apart, share)


def test_a_view_that_rotates_or_shears_is_not_upright():
    for row, column in ((0, 1), (1, 0)):
        view = torch.eye(2, 3)[None].repeat(2, 1, 1)
        view[1, row, column] = 0.1
        assert not is_upright(view)
