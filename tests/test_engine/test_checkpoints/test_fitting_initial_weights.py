"""Initial weights of another model are refused before training."""

import pytest
import torch
from lfi.engine.checkpoints.initial_weights import check_initial_weights
from lfi.errors import UsageError
from mmengine.model import BaseModule
from torch import nn


class Part(BaseModule):
    def __init__(self, width, init_cfg=None):
        super().__init__(init_cfg)
        self.first, self.second = nn.Linear(width, 2), nn.Linear(2, 2)


def test_weights_of_another_model_are_refused(tmp_path):
    file = str(tmp_path / 'epoch_1.pth')
    weights = {f'backbone.{name}': value for name, value in Part(3).state_dict().items()}
    torch.save({'state_dict': weights}, file)
    start = dict(type='Pretrained', checkpoint=file)
    for prefix in ('backbone', 'backbone.'):
        check_initial_weights(nn.Sequential(Part(3, dict(start, prefix=prefix))))
    # One shape of four differs, as for positions of another input size.
    check_initial_weights(nn.Sequential(Part(4, dict(start, prefix='backbone.'))))
    for other in (Part(3, start), nn.Sequential(Part(3, [dict(start, prefix='neck.')]))):
        with pytest.raises(
            UsageError, match=r'init_cfg: 4 of 4 weights of Part are not in \S+epoch_1.pth or'
        ):
            check_initial_weights(nn.ModuleList([other]))
    check_initial_weights(nn.Sequential(Part(3, dict(type='Pretrained', checkpoint='https://a/b.pth'))))
