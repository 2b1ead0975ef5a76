"""Looks at images, with a teacher that gives each cell's own mean colour."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.looks import in_windows, merge_sizes, mirrored

CELL = 4


def look(images):
    """Two layers of three maps, by cells of 4 pixels, and scores that are the maps' maxima."""
    maps = F.avg_pool2d(images, CELL)
    return torch.stack((maps, maps + 10), 1), maps.amax((-2, -1))


def images(*size, seed=0):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('size', [(8, 8), (8, 16), (24, 32)])
@pytest.mark.parametrize('stride', [(8, 8), (4, 8)])
def test_windows_of_a_teacher_that_sees_single_cells_give_the_whole_map(size, stride):
    batch = images(24, 32)
    maps, scores = in_windows(look, size, stride)(batch)
    expected, best = look(batch)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(scores, best)


def test_where_windows_overlap_the_maps_are_averaged():
    def by_window(window):
        return look(window)[0] + window.mean(), look(window)[1]

    batch = images(8, 12)
    maps, _ = in_windows(by_window, (8, 8), (8, 4))(batch)
    left, right = batch[..., :8], batch[..., 4:]
    plain = look(batch)[0]
    torch.testing.assert_close(maps[..., 0], plain[..., 0] + left.mean())
    torch.testing.assert_close(maps[..., 1], plain[..., 1] + (left.mean() + right.mean()) / 2)
    torch.testing.assert_close(maps[..., 2], plain[..., 2] + right.mean())


@pytest.mark.parametrize(
    ('full', 'size', 'stride', 'message'),
    [
        ((8, 8), (8, 12), (8, 8), r'window.size=\(8, 12\) is larger than the input, \(8, 8\)'),
        ((16, 16), (8, 8), (6, 8), r'window.size=\(8, 8\) at \(6, 0\) .* multiples of .* cell, 4 pixels'),
        ((16, 18), (8, 8), (8, 8), r'at \(0, 0\) of an input of \(16, 18\) does not fall on whole cells'),
    ],
)
def test_windows_that_do_not_fall_on_cells_are_refused(full, size, stride, message):
    with pytest.raises(ValueError, match=message):
        in_windows(look, size, stride)(images(*full))


def test_the_mirror_image_is_mirrored_back():
    def leaning(batch):
        maps, scores = look(batch)
        return maps + torch.arange(maps.shape[-1]), scores + batch[:, :, 0, 0]

    batch = images(8, 12)
    maps, scores = mirrored(leaning)(batch)
    torch.testing.assert_close(maps, look(batch)[0] + 1)
    torch.testing.assert_close(scores, look(batch)[1] + (batch[:, :, 0, 0] + batch[:, :, 0, -1]) / 2)


def test_sizes_are_averaged_on_the_finest_grid():
    coarse, fine = look(images(8, 8)), look(images(16, 16, seed=1))
    maps, scores = merge_sizes([coarse, fine])
    assert maps.shape == (2, 2, 3, 4, 4)
    enlarged = F.interpolate(coarse[0].flatten(1, 2), (4, 4), mode='bilinear').unflatten(1, (2, 3))
    torch.testing.assert_close(maps, (enlarged + fine[0]) / 2)
    torch.testing.assert_close(scores, (coarse[1] + fine[1]) / 2)
    assert merge_sizes([coarse])[0] is coarse[0]
