import torch
from lfi.structures import compose_views, view_of_top_left


def points(view, xy):
    return (view[..., :2] @ xy.mT + view[..., 2:]).mT


def test_views_compose_as_their_maps_do():
    generator = torch.Generator().manual_seed(0)
    outer, inner = torch.randn(2, 3, 2, 3, generator=generator)
    xy = torch.randn(3, 5, 2, generator=generator)
    torch.testing.assert_close(points(compose_views(outer, inner), xy), points(outer, points(inner, xy)))


def test_the_canvas_looks_at_the_picture_at_its_top_left():
    view = view_of_top_left((40, 60), [(40, 60), (20, 15)], 'cpu')
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    torch.testing.assert_close(points(view[0], corners), corners)
    # The picture of 20 x 15 ends at half the height and a quarter of the width.
    ends = torch.tensor([[-1.0, -1.0], [-0.5, 0.0]])
    torch.testing.assert_close(points(view[1], ends), corners)
