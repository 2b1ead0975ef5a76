import torch
from lfi.structures import filled_share
from lfi.structures.views import sample_spots, seen_from

WHOLE = torch.eye(2, 3)[None]


def test_the_share_of_a_canvas_that_pictures_fill():
    share = filled_share((40, 60), [(40, 60), (20, 15)], 'cpu')
    torch.testing.assert_close(share, torch.tensor([[1.0, 1.0], [0.25, 0.5]]))


def test_a_view_shows_its_places_as_affine_grid_does():
    view = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    x, y = (torch.linspace(-1, 1, 2 * n + 1)[1::2].expand(2, n) for n in (5, 4))
    expected = torch.nn.functional.affine_grid(view, (2, 1, 4, 5), align_corners=False)
    torch.testing.assert_close(seen_from(view, x, y), expected)


def test_a_position_of_one_cell_is_sampled_in_its_middle():
    x, y, share = sample_spots(WHOLE, (3, 4), (3, 4), (1, 2), torch.ones(1, 2))
    torch.testing.assert_close(y, torch.tensor([[-2 / 3, 0, 2 / 3]]))
    torch.testing.assert_close(x, torch.tensor([[-0.75, -0.75, -0.25, -0.25, 0.25, 0.25, 0.75, 0.75]]))
    torch.testing.assert_close(share, torch.ones(1, 1, 3, 4))


def test_a_position_of_three_cells_is_sampled_over_two_of_them():
    x, _, _ = sample_spots(WHOLE, (1, 6), (1, 2), (1, 2), torch.ones(1, 2))
    # Positions of 3 cells, a third of a unit each; samples half a cell from the middle of the position.
    torch.testing.assert_close(x, torch.tensor([[-0.5 - 1 / 6, -0.5 + 1 / 6, 0.5 - 1 / 6, 0.5 + 1 / 6]]))


def test_the_filled_part_of_a_position_counts():
    filled = torch.tensor([[0.375, 1.0]])
    x, _, share = sample_spots(WHOLE, (1, 1), (1, 4), (1, 1), filled)
    # The view ends in the middle of the second position: its middle there is 5 / 6 of the view.
    torch.testing.assert_close(x, torch.tensor([[2 / 3 - 1, 5 / 3 - 1, 1.0, 1.0]]))
    torch.testing.assert_close(share[0, 0, 0], torch.tensor([1.0, 0.5, 0.0, 0.0]))
