"""The images that a teacher is measured on, and what can be said of few."""

import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.evaluation.teachers.images import Images, _has_regions
from lfi.evaluation.teachers.measuring import chance_levels
from mmengine.config import Config
from picture_files import write_shapes

DATASET = dict(type='lfi.Shapes', split='val', num_images=2, pipeline=[])
CONFIG = Config(dict(val_dataloader=dict(dataset=DATASET)))


def test_workers_hand_over_no_tensors():
    """Each would be a file that stays open until its batch is read."""
    image = Images(CONFIG, 1)[0]
    assert image.masks and {type(each) for each in (image.image, *image.masks.values())} == {np.ndarray}
    assert image.pixels.shape == (3, *image.image.shape[:2])


def test_one_image_with_objects_is_too_few():
    with pytest.raises(UsageError, match='only 1 of 1 images show a class'):
        chance_levels(Images(CONFIG, 1), (0.0, 1.0))


def test_images_may_have_labels_alone_and_need_one(tmp_path):
    write_shapes('val', [tmp_path / 'ring/1.png'])
    steps = [dict(type='LoadImageFromFile')]
    dataset = dict(type='mmpretrain.CustomDataset', data_root=str(tmp_path), pipeline=steps)
    images = Images(Config(dict(val_dataloader=dict(dataset=dataset))))
    assert not images.has_regions and (images[0].label, images[0].regions) == (0, {})
    assert Images(CONFIG, 1).has_regions
    with pytest.raises(UsageError, match='there is nothing to point at'):
        _has_regions(dict(img=images[0].image))
    with pytest.raises(UsageError, match=r'several labels, gt_label=\[1, 2\]'):
        _has_regions(dict(gt_label=[1, 2]))
