"""Schedule of a pretraining that `lfi pretrain` writes."""

import pytest
import torch
from lfi.engine.config_loading import load_config
from lfi.new_config import Settings, init_pretraining_config
from lfi.new_config.models import find_classifier
from mmengine.registry import MODELS
from picture_files import write_shapes


@pytest.mark.parametrize(
    ('model', 'has_weights', 'rate'),
    [('resnet18', False, 1e-3), ('resnet18', True, 5e-4), ('deit-tiny', False, 5e-4)],
)
def test_batch_normalisation_from_random_weights_takes_a_higher_rate(model, has_weights, rate, tmp_path):
    write_shapes('train', [tmp_path / f'photos/{i}.png' for i in range(4)])
    weights = None
    if has_weights:
        weights = str(tmp_path / 'weights.pth')
        config = {**find_classifier(model).model['backbone'], '_scope_': 'mmpretrain'}
        torch.save(MODELS.build(config).state_dict(), weights)
    settings = Settings(epochs=1, batch_size=32, input_size=64, weights=weights)
    out = tmp_path / 'pretrain.py'
    init_pretraining_config(tmp_path / 'photos', model, 'shapes-tiny', ['ring', 'star'], settings, out)
    assert load_config(str(out)).optim_wrapper.optimizer.lr == rate
