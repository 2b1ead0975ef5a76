"""Scalars and pictures go to further loggers, by one option."""

import importlib.util

import numpy as np
import pytest
from lfi.engine import loggers_option
from lfi.engine.loggers_option import LOGGERS, set_loggers
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.registry import VISUALIZERS
from PIL import Image


def needs(package):
    found = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not found, reason=f'{package} is not installed')


def config(tmp_path, **options):
    local = dict(type='LocalVisBackend')
    cfg = Config(
        dict(visualizer=dict(type='Visualizer', vis_backends=[local]), work_dir=str(tmp_path), **options)
    )
    set_loggers(cfg)
    return cfg


@pytest.fixture
def everything_installed(monkeypatch):
    monkeypatch.setattr(loggers_option, 'find_spec', lambda name: object())


@pytest.mark.parametrize('names', ['mlflow', ['mlflow', 'wandb', 'clearml']])
def test_they_stand_behind_what_the_config_has(names, tmp_path, everything_installed):
    cfg = config(tmp_path / 'my-run', loggers=names)
    types = [backend.type for backend in cfg.visualizer.vis_backends]
    expected = [LOGGERS[name].backend for name in ([names] if isinstance(names, str) else names)]
    assert types == ['LocalVisBackend', *expected] and 'loggers' not in cfg
    if 'wandb' in names:
        assert cfg.visualizer.vis_backends[2].init_kwargs == dict(project='lfi', name='my-run')
        assert cfg.visualizer.vis_backends[3].init_kwargs == dict(project_name='lfi', task_name='my-run')


def test_without_the_option_nothing_changes(tmp_path):
    for options in (dict(), dict(loggers=None), dict(loggers=[])):
        cfg = config(tmp_path, **options)
        assert [backend.type for backend in cfg.visualizer.vis_backends] == ['LocalVisBackend']


def test_one_that_is_there_is_not_added_again(tmp_path, everything_installed):
    cfg = config(tmp_path, loggers=['tensorboard'])
    cfg.loggers = ['tensorboard']
    set_loggers(cfg)
    assert len(cfg.visualizer.vis_backends) == 2


@pytest.mark.parametrize(
    ('name', 'message'),
    [('tensorbord', r'did you mean tensorboard\?'), ('comet', 'choose from tensorboard, ')],
)
def test_an_unknown_one_is_refused(name, message, tmp_path):
    with pytest.raises(UsageError, match=f"loggers='{name}' is unknown: {message}"):
        config(tmp_path, loggers=[name])


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers_option, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match="loggers='wandb' needs wandb: pip install wandb"):
        config(tmp_path, loggers='wandb')


def log(cfg, tmp_path):
    """A run's config, scalars of two steps, and a picture, as mmengine's hooks give them."""
    visualizer = VISUALIZERS.build({**cfg.visualizer, 'save_dir': str(tmp_path), 'name': tmp_path.name})
    # The names of a bank are longer than a parameter of MLflow may be.
    visualizer.add_config(Config(dict(work_dir=str(tmp_path), concepts=[f'concept {i}' for i in range(999)])))
    for step in (1, 2):
        visualizer.add_scalars({'loss': 1.0 / step, 'lr': 0.1}, step=step)
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 8:] = (255, 0, 0)
    visualizer.add_image('interactions', picture, step=2)
    visualizer.close()


@needs('tensorboard')
def test_tensorboard_has_scalars_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(config(tmp_path, loggers=['tensorboard']), tmp_path)
    found = EventAccumulator(str(tmp_path / 'vis_data'), {'images': 0, 'scalars': 0})
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars('loss')] == [(1, 1.0), (2, 0.5)]
    (image,) = found.Images('interactions')
    assert (image.width, image.height, image.step) == (16, 8, 2)


@needs('mlflow')
@needs('sqlalchemy')
def test_mlflow_has_scalars_pictures_and_the_config(tmp_path, monkeypatch):
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    from mlflow.tracking import MlflowClient

    log(config(tmp_path, loggers=['mlflow']), tmp_path)
    client = MlflowClient(f'sqlite:///{tmp_path / "vis_data"}/mlflow.db')
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.info.status == 'FINISHED' and run.data.metrics == {'loss': 0.5, 'lr': 0.1}
    (config_file,) = (tmp_path / 'vis_data').rglob('artifacts/config.py')
    assert 'concept 998' in config_file.read_text()
    (picture,) = (tmp_path / 'vis_data').rglob('artifacts/interactions/*.png')
    assert picture.name == '00000002.png'
    assert np.asarray(Image.open(picture))[0, [0, -1]].tolist() == [[0, 0, 0], [255, 0, 0]]
