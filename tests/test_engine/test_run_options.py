import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lfi.engine import run_options
from lfi.engine.run_options import LOGGERS, set_loggers
from lfi.errors import UsageError
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import VISUALIZERS
from mmpretrain.engine.hooks import VisualizationHook
from PIL import Image


def test_mixed_precision_is_refused_on_a_mac(monkeypatch):
    monkeypatch.setattr(run_options, 'get_device', lambda: 'mps')
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}})
    with pytest.raises(UsageError, match='--amp: MMEngine has no mixed precision on MPS'):
        run_options.enable_amp(cfg)


def test_amp_by_device(monkeypatch):
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}})
    monkeypatch.setattr(run_options, 'get_device', lambda: 'cuda')
    run_options.enable_amp(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')

    monkeypatch.setattr(run_options, 'get_device', lambda: 'cpu')
    run_options.enable_amp(cfg)
    model = torch.nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 2))
        assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype == torch.float32

    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(UsageError, match='ApexOptimWrapper'):
        run_options.enable_amp(cfg)


def test_auto_scale_lr():
    cfg = Config({'auto_scale_lr': {'base_batch_size': 8, 'enable': False}})
    run_options.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(UsageError, match='base_batch_size'):
        run_options.enable_auto_scale_lr(Config({'auto_scale_lr': None}))


def test_checkpoints_are_written_atomically_unless_the_config_says_how():
    cfg = Config({})
    run_options.write_checkpoints_atomically(cfg)
    hook = {'type': 'CheckpointHook', 'interval': 1, 'backend_args': {'backend': 'lfi_atomic'}}
    assert cfg.default_hooks.checkpoint == hook
    for settings in (
        {'out_dir': 's3://bucket'},
        {'backend_args': None},
        {'file_client_args': {'backend': 'disk'}},
    ):
        cfg = Config({'default_hooks': {'checkpoint': {'type': 'CheckpointHook', **settings}}})
        run_options.write_checkpoints_atomically(cfg)
        assert cfg.default_hooks.checkpoint.get('backend_args') is None


def test_classes_are_compared_with_the_concepts_whatever_the_config_says():
    hook = dict(type='lfi.ConceptCheckHook')
    taught, other = dict(type='lfi.LFIDetector', teacher=dict(concepts=['cat'])), dict(type='ATSS')
    for cfg, hooks in (
        (dict(model=taught), [hook]),
        (dict(model=taught, custom_hooks=[dict(type='EMAHook')]), [dict(type='EMAHook'), hook]),
        (dict(model=taught, custom_hooks=[hook]), [hook]),
        (dict(model=taught, default_hooks=dict(check=hook, timer=None)), None),
        (dict(model=taught, default_hooks=dict(concept_check=None)), None),
        (dict(model=other), None),
    ):
        cfg = Config(cfg)
        run_options.add_concept_check(cfg)
        assert cfg.get('custom_hooks') == hooks
        # MMEngine's Runner asserts that a hook of this name is none of None.
        assert 'concept_check' not in cfg.get('default_hooks', {})


@pytest.mark.parametrize(
    ('loop', 'expected'),
    [
        (dict(type='IterBasedTrainLoop', max_iters=10), False),
        (dict(by_epoch=False, max_iters=10), False),
        (dict(by_epoch=True, max_epochs=10), None),
        (None, None),
    ],
)
def test_validations_are_logged_by_iteration_where_training_counts_iterations(loop, expected):
    cfg = Config(dict(train_cfg=loop, default_hooks=dict(logger=dict(type='LoggerHook', interval=50))))
    run_options.log_validation_by_iteration(cfg)
    assert cfg.default_hooks.logger.get('log_metric_by_epoch') is expected
    cfg = Config(dict(train_cfg=loop))
    run_options.log_validation_by_iteration(cfg)
    hook = (cfg.get('default_hooks') or {}).get('logger') or {}
    assert hook.get('log_metric_by_epoch') is expected
    own = dict(type='LoggerHook', log_metric_by_epoch=True)
    cfg = Config(dict(train_cfg=loop, default_hooks=dict(logger=own)))
    run_options.log_validation_by_iteration(cfg)
    assert cfg.default_hooks.logger == own


def test_resume(tmp_path):
    cfg = Config({'work_dir': str(tmp_path), 'load_from': 'pretrained.pth'})
    run_options.set_resume(cfg, None)
    assert 'resume' not in cfg
    run_options.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    torch.save({}, tmp_path / 'epoch_1.pth')
    run_options.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(UsageError, match=r'no_such\.pth does not exist'):
        run_options.set_resume(cfg, 'no_such.pth')


def test_a_restart_goes_on_from_what_the_training_has_written(tmp_path, monkeypatch):
    torch.save({}, tmp_path / 'start.pth')
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    torch.save({}, work_dir / 'epoch_1.pth')

    def resumed():
        cfg = Config({'work_dir': str(work_dir)})
        run_options.set_resume(cfg, str(tmp_path / 'start.pth'))
        return Path(cfg.load_from).name

    started = (work_dir / 'epoch_1.pth').stat().st_mtime + 10
    monkeypatch.setenv('LFI_STARTED', str(started))
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    # It is of another training.
    assert resumed() == 'start.pth'
    torch.save({}, work_dir / 'epoch_2.pth')
    os.utime(work_dir / 'epoch_2.pth', (started + 5, started + 5))
    assert resumed() == 'epoch_2.pth'
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '0')
    assert resumed() == 'start.pth'


def test_a_training_begins_where_the_config_resumes_from(tmp_path):
    cfg = Config({'work_dir': str(tmp_path), 'resume': True, 'load_from': 'start.pth'})
    for resume in (None, 'auto'):
        run_options.set_resume(cfg, resume)
        assert (cfg.resume, cfg.load_from) == (True, 'start.pth')
    torch.save({}, tmp_path / 'epoch_1.pth')
    run_options.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_1.pth'))


@pytest.mark.parametrize(('own', 'expected'), [({}, 7), ({'randomness': {'seed': 3}}, 3)])
def test_a_resumed_training_draws_as_it_would_have_gone_on(tmp_path, own, expected):
    torch.save(dict(meta=dict(seed=7)), tmp_path / 'epoch_1.pth')
    cfg = Config({'work_dir': str(tmp_path), **own})
    run_options.set_resume(cfg, 'auto')
    assert cfg.randomness.seed == expected


def test_enable_drawing(tmp_path):
    for hook, setting in (('VisualizationHook', 'out_dir'), ('mmdet.DetVisualizationHook', 'test_out_dir')):
        cfg = Config({'default_hooks': {'visualization': {'type': hook}}})
        run_options.enable_drawing(cfg, str(tmp_path))
        assert cfg.default_hooks.visualization[setting] == str(tmp_path)
    # A lazy config names the class itself.
    lazy = Config({'default_hooks': {'visualization': {'type': VisualizationHook}}})
    run_options.enable_drawing(lazy, str(tmp_path))
    assert lazy.default_hooks.visualization.out_dir == str(tmp_path)
    with pytest.raises(UsageError, match='default_hooks.visualization'):
        run_options.enable_drawing(Config({}), str(tmp_path))


def test_segmentors_are_drawn_by_the_visualizer(tmp_path):
    cfg = Config({'default_hooks': {'visualization': {'type': 'mmseg.SegVisualizationHook'}}})
    run_options.enable_drawing(cfg, str(tmp_path))
    assert cfg.default_hooks.visualization == {
        'type': 'mmseg.SegVisualizationHook',
        'draw': True,
        'interval': 1,
    }
    assert cfg.visualizer == {**run_options.SEG_VISUALIZER, 'save_dir': str(tmp_path)}
    own = {'type': 'mmseg.Own', 'alpha': 0.5, 'vis_backends': []}
    cfg.visualizer = own
    run_options.enable_drawing(cfg, str(tmp_path))
    assert cfg.visualizer == {**own, 'save_dir': str(tmp_path)}


def test_tta():
    cfg = Config({'model': {'type': 'Model'}, 'test_dataloader': {'dataset': {'dataset': {'pipeline': [1]}}}})
    with pytest.raises(UsageError, match='tta_model and tta_pipeline'):
        run_options.enable_tta(cfg)
    cfg.tta_model, cfg.tta_pipeline = ConfigDict(type='TTA'), [2]
    run_options.enable_tta(cfg)
    assert cfg.model == {'type': 'TTA', 'module': {'type': 'Model'}}
    assert cfg.test_dataloader.dataset.dataset.pipeline == [2]


def test_tta_changes_the_pipelines_of_all_data_sets_that_are_joined():
    parts = [dict(type='A', pipeline=[1]), dict(type='RepeatDataset', dataset=dict(type='B', pipeline=[2]))]
    cfg = Config(
        dict(
            model=dict(type='M'),
            tta_model=dict(type='T'),
            tta_pipeline=[dict(type='TestTimeAug')],
            test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=parts)),
        )
    )
    run_options.enable_tta(cfg)
    first, second = cfg.test_dataloader.dataset.datasets
    assert first.pipeline == second.dataset.pipeline == cfg.tta_pipeline


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
    monkeypatch.setattr(run_options, 'find_spec', lambda name: object())


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
    monkeypatch.setattr(run_options, 'find_spec', lambda name: None)
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
