"""Images to compare and time models on."""

import mmcv
import numpy as np
import pytest
import torch
from lfi.datasets import Shapes
from lfi.errors import UsageError
from lfi.export.sample_images import sample_images
from lfi.structures import PixelFormat

RGB = PixelFormat((10.0, 20.0, 30.0), (1.0, 2.0, 4.0), True)
BGR = PixelFormat((0.0,) * 3, (1.0,) * 3, False)


def test_shapes_are_drawn_and_normalised():
    images = sample_images(2, (32, 32), RGB)
    drawn = Shapes('test', num_images=2, img_size=32).get_data_info(1)['img']
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.float32
    for channel, (mean, std) in enumerate(zip(RGB.mean, RGB.std)):
        expected = (drawn[..., 2 - channel].astype(np.float32) - mean) / std
        np.testing.assert_allclose(images[1, channel].numpy(), expected, rtol=1e-6)


def test_they_are_resized():
    assert sample_images(1, (16, 24), BGR).shape == (1, 3, 16, 24)


def test_files_of_a_folder_come_again_where_there_are_few(tmp_path):
    for index in range(2):
        mmcv.imwrite(np.full((8, 8, 3), 100 * index, np.uint8), str(tmp_path / f'below/{index}.png'))
    (tmp_path / 'notes.txt').touch()
    images = sample_images(3, (8, 8), BGR, tmp_path)
    means = sorted(images[:2].mean((1, 2, 3)).tolist())
    assert means == [0, 100] and torch.equal(images[2], images[0])


def test_what_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / 'empty.png').touch()
    with pytest.raises(UsageError, match='none of the 1 images in it can be read'):
        sample_images(1, (8, 8), BGR, tmp_path)
    mmcv.imwrite(np.full((8, 8, 3), 7, np.uint8), str(tmp_path / 'whole.png'))
    assert (sample_images(3, (8, 8), BGR, tmp_path) == 7).all()


def test_a_folder_without_images(tmp_path):
    with pytest.raises(UsageError, match='has no image .*.png'):
        sample_images(1, (8, 8), BGR, tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match='--images .*nowhere: there is no such folder'):
        sample_images(1, (8, 8), BGR, tmp_path / 'nowhere')
