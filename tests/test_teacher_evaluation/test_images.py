"""The images that a teacher is measured on, and what can be said of few."""

import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.teacher_evaluation.images import Images
from lfi.teacher_evaluation.measuring import chance
from mmengine.config import Config

DATASET = dict(type='lfi.Shapes', split='val', num_images=2, pipeline=[])
CONFIG = Config(dict(val_dataloader=dict(dataset=DATASET)))


def test_workers_hand_over_no_tensors():
    """Each would be a file that stays open until its batch is read."""
    image = Images(CONFIG, 1)[0]
    assert image.masks and {type(each) for each in (image.image, *image.masks.values())} == {np.ndarray}
    assert image.pixels.shape == (3, *image.image.shape[:2])


def test_one_image_with_objects_is_too_few():
    with pytest.raises(UsageError, match='only 1 of 1 images show a class'):
        chance(Images(CONFIG, 1), (0.0, 1.0))
