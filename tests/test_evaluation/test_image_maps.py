import pytest
import torch
import torch.nn.functional as F
from lfi.evaluation import ImageMaps


def image_maps(student, size, canvas, **fields):
    found = dict(
        concepts=list(range(student.shape[1])),
        student=student,
        mirrored=student[-1],
        teacher=student[-1],
        presence=torch.ones(student.shape[1]),
        teacher_presence=torch.ones(student.shape[1]),
        valid=torch.ones(student.shape[2:], dtype=torch.bool),
        size=size,
        canvas=canvas,
    )
    return ImageMaps(**{**found, **fields})


def test_maps_are_laid_over_the_canvas_and_the_image_cut_out():
    student = torch.rand(3, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    found = image_maps(student, (30, 40), (32, 48)).to_pixels(student[2])
    assert found.shape == (2, 30, 40)
    expected = F.interpolate(student[2][:, None], (32, 48), mode='bilinear')[:, 0, :30, :40]
    torch.testing.assert_close(found, expected)


def test_a_locations_value_is_the_mean_of_its_pixels():
    pixels = torch.arange(48.0).view(6, 8)
    found = image_maps(torch.zeros(1, 1, 3, 4), (6, 8), (6, 8)).to_locations(pixels)
    assert found.shape == (3, 4)
    assert found[1, 2].item() == pytest.approx((20 + 21 + 28 + 29) / 4)


def test_padding_takes_no_part_in_the_mean():
    # Locations of 4 pixels; the image ends within the second one of each axis.
    found = image_maps(torch.zeros(1, 1, 3, 2), (6, 5), (12, 8)).to_locations(torch.full((6, 5), 2.0))
    torch.testing.assert_close(found, torch.tensor([[2.0, 2.0], [2.0, 2.0], [0.0, 0.0]]))


def test_an_image_is_measured_alike_alone_and_padded():
    student = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    alone = image_maps(student, (24, 32), (24, 32)).to_pixels(student[0])
    padded = F.pad(student, (0, 3, 0, 2))
    valid = F.pad(torch.ones(3, 4, dtype=torch.bool), (0, 3, 0, 2))
    found = image_maps(padded, (24, 32), (40, 56), valid=valid).to_pixels(padded[0])
    torch.testing.assert_close(found, alone)


def test_a_corner_that_shows_too_little_of_the_image_weakens_nothing():
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[2, 3] = False
    student = (valid / valid.sum())[None, None]
    found = image_maps(student, (22, 30), (24, 32), valid=valid).to_pixels(student[0])
    assert len(found.unique()) == 1


def test_a_flat_map_stays_flat_on_pixels():
    student = torch.full((1, 1, 7, 7), 0.1)
    assert len(image_maps(student, (64, 64), (64, 64)).to_pixels(student[0]).unique()) == 1
