"""Sides of a classifier's images."""

from pathlib import Path

import pytest
from lfi.errors import UsageError
from lfi.new_config import FoundData, LabelledImage, Settings
from lfi.new_config.tasks.input_size import choose_input_size

DATA = FoundData('photos', 'pretraining', Path(), (), (LabelledImage('a.jpg', size=(50, 40)),), ())
CONVOLUTIONS = {'type': 'ResNet_CIFAR', 'depth': 18, 'stem_channels': 4, 'base_channels': 4}
# Its tokens have positions, which are built for the size.
POSITIONS = {
    'type': 'VisionTransformer',
    'arch': {'embed_dims': 8, 'num_layers': 1, 'num_heads': 1, 'feedforward_channels': 8},
    'img_size': 224,
    'patch_size': 32,
}
FIXED = {'type': 'TIMMBackbone', 'model_name': 'levit_128s', 'features_only': True}


@pytest.mark.parametrize(
    ('backbone', 'option', 'size'),
    [(CONVOLUTIONS, None, 64), (CONVOLUTIONS, 96, 96), (POSITIONS, None, 64), (FIXED, None, 224)],
)
def test_backbones_get_the_size_of_the_data_if_they_take_it(backbone, option, size):
    assert choose_input_size(backbone, DATA, Settings(input_size=option)) == size


def test_a_size_that_the_backbone_does_not_take_is_refused():
    with pytest.raises(
        UsageError, match=r'takes no images of 64 pixels \(.*\): leave out --input-size, or try 224'
    ):
        choose_input_size(FIXED, DATA, Settings(input_size=64))
