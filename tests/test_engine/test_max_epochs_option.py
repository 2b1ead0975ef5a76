"""The option `max_epochs`."""

import pytest
from lfi.engine.config_loading import load_config
from lfi.engine.max_epochs_option import scale_epochs
from lfi.errors import UsageError

CONFIG = """
max_epochs = 100
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, end=500),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=50, end=max_epochs, T_max=50),
]
custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=80)]
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(CONFIG)
    return file


def test_the_schedule_follows_the_number_of_epochs(config):
    cfg = load_config(str(config), {'max_epochs': 10})
    assert cfg.max_epochs == cfg.train_cfg.max_epochs == 10
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == 500
    assert (cosine.begin, cosine.end, cosine.T_max) == (5, 10, 5)
    assert cfg.custom_hooks[0].switch_epoch == 8


@pytest.mark.parametrize('epochs', [0, 'many', 2.5])
def test_a_wrong_number_is_refused(config, epochs):
    with pytest.raises(UsageError, match='max_epochs'):
        load_config(str(config), {'max_epochs': epochs})


def test_a_config_without_the_variable_names_the_setting(config):
    config.write_text(CONFIG.replace('max_epochs = 100', 'epochs = 100').replace('=max_epochs', '=epochs'))
    with pytest.raises(UsageError, match='write train_cfg.max_epochs=10'):
        load_config(str(config), {'max_epochs': 10})


def test_in_python_the_schedule_of_any_config_follows(config):
    config.write_text(CONFIG.replace('max_epochs = 100', 'epochs = 100').replace('=max_epochs', '=epochs'))
    cfg = load_config(str(config))
    scale_epochs(cfg, 20)
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 20
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=9)
    with pytest.raises(UsageError, match='set train_cfg.max_iters'):
        scale_epochs(cfg, 20)
