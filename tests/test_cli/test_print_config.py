"""Configs as text."""

from argparse import Namespace

import pytest
from lfi.adaptation import read_user_config
from lfi.cli import print_config
from lfi.engine.config_as_text import text_config
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

LAZY = """
from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmpretrain.models import ImageClassifier, ResNet
from torch.optim import SGD

with read_base():
    from .base import *
model = dict(type=ImageClassifier, backbone=dict(type=ResNet, depth=18))
pipeline = [dict(type=RandomFlip, prob=0.5)]
optimizer = dict(type=SGD, lr=0.1)
"""


def test_a_lazy_config_becomes_text_that_can_be_inherited(tmp_path, capsys):
    (tmp_path / 'base.py').write_text(
        'from mmpretrain.datasets import PackInputs\nstep = dict(type=PackInputs)\n'
    )
    (tmp_path / 'lazy.py').write_text(LAZY)
    with pytest.raises(UsageError, match='lfi print-config .* --save-path lazy_text.py'):
        read_user_config(str(tmp_path / 'lazy.py'))
    text = tmp_path / 'lazy_text.py'
    print_config.run(Namespace(config=str(tmp_path / 'lazy.py'), cfg_options=None, save_path=str(text)))
    assert "type='mmpretrain.ResNet'" in capsys.readouterr().out
    cfg = read_user_config(str(text)).cfg
    assert cfg.model.to_dict() == dict(
        type='mmpretrain.ImageClassifier', backbone=dict(type='mmpretrain.ResNet', depth=18)
    )
    assert (cfg.step.type, cfg.optimizer.type) == ('mmpretrain.PackInputs', 'mmengine.SGD')
    # mmdet has a RandomFlip of its own.
    with TRANSFORMS.switch_scope_and_registry('mmdet') as registry:
        kind = registry.get(cfg.pipeline[0].type)
    assert kind is load_config(str(tmp_path / 'lazy.py')).pipeline[0].type


def test_what_no_text_can_hold_is_named():
    with pytest.raises(UsageError, match='model.norm.0=.*cannot be written into a text config'):
        text_config(Config(dict(model=dict(norm=[len]))))
