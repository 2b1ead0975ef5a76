"""Students with random weights, as trainings leave them, and pictures of Shapes."""

from pathlib import Path

import pytest
import torch
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from picture_files import write_shapes

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = dict(arch=dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=32))


@pytest.fixture(scope='session')
def make_student(tmp_path_factory):
    """`make_student(config, **model)` gives a config of the repository, and a checkpoint of it.

    Weights are random, and away from their initial values. Keys in `model` change the config's model.
    """

    def make(name, **model):
        cfg = Config.fromfile(CONFIGS / name)
        cfg.merge_from_dict(dict(model=model))
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            torch.manual_seed(0)
            built = {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}
            student = MODELS.build({key: value for key, value in built.items() if value is not None})
        for parameter in student.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        file = tmp_path_factory.mktemp('student') / 'student.pth'
        torch.save(dict(state_dict=student.state_dict(), meta=dict(epoch=1)), file)
        return cfg, file

    return make


@pytest.fixture(scope='session')
def classifier(make_student):
    return make_student('classification/lfi_vit-128x6-p8_shapes.py')


@pytest.fixture(scope='session')
def detector(make_student):
    return make_student('detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py')


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """A folder with five PNG files of Shapes, 64 px."""
    folder = tmp_path_factory.mktemp('photos')
    write_shapes('val', [folder / f'photo{i}.png' for i in range(5)])
    return folder
