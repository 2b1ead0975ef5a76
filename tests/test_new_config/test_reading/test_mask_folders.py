"""Folders of images and PNG masks, written by Pillow."""

import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from PIL import Image
from small_data_sets import write_masks


def test_pairs_and_split_come_back(tmp_path):
    data = find_data(write_masks(tmp_path), tmp_path)
    assert (data.task, data.classes) == ('semantic segmentation', ('dark', 'bright'))
    assert [(image.path, image.mask) for image in data.val] == [
        ('images/val/4.jpg', 'masks/val/4.png'),
        ('images/val/5.jpg', 'masks/val/5.png'),
    ]
    assert len(data.train) == 4 and data.train[0].classes == (0, 1)


def test_pixels_of_255_are_ignored(tmp_path):
    write_masks(tmp_path)
    Image.fromarray(np.full((80, 96), 255, np.uint8)).save(tmp_path / 'masks/train/0.png')
    assert find_data(tmp_path, tmp_path).train[0].classes == ()


def set_mask(image):
    return lambda root: image.save(root / 'masks/train/0.png')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda root: (root / 'classes.txt').unlink(),
            r'has masks and no names of their classes: write \S+classes',
        ),
        (
            lambda root: (root / 'classes.txt').write_text('a\n'),
            'classes.txt has 1 names, and a segmentor needs two',
        ),
        (
            set_mask(Image.new('L', (96, 80), 3)),
            r'0.png has the index 3, and there are 2 names of classes: add',
        ),
        (
            set_mask(Image.new('RGB', (96, 80))),
            '0.png is a picture of mode RGB: a mask has one channel of class',
        ),
        (lambda root: (root / 'masks/train/0.png').unlink(), r'0.jpg has no mask \S+0.png'),
        (
            lambda root: (root / 'masks/train/0.png').write_bytes(b''),
            '0.png is no readable mask: cannot identify',
        ),
    ],
)
def test_wrong_masks_are_refused_in_one_line(change, message, tmp_path):
    root = write_masks(tmp_path / 'data')
    change(root)
    with pytest.raises(UsageError, match=message) as error:
        find_data(root, tmp_path)
    assert '\n' not in str(error.value)
