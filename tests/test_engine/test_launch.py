import sys

import lfi  # noqa: F401
import pytest
import torch
from lfi.engine import launch, safe_checkpoint_loading
from lfi.engine.checkpoint import load_from_local
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.runner import CheckpointLoader


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')


def test_tools_read_checkpoints_safely():
    used = []
    # The block ends what the tool installs.
    with safe_checkpoint_loading():
        CheckpointLoader.register_scheme('', print, force=True)
        launch.run(lambda: used.append(CheckpointLoader._get_checkpoint_loader('epoch_1.pth')))
    assert used == [load_from_local]


def test_cfg_options_that_do_not_fit(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('steps = [1, 2]\n')
    assert launch.load_config(str(config), {'steps': [3], 'env_cfg.key': 1}).env_cfg.key == 1
    for options in ({'steps.9': 1}, {'steps.0.a': 1}):
        with pytest.raises(launch.UsageError, match='--cfg-options .* does not fit'):
            launch.load_config(str(config), options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg.max_epochs': 'one'}, 'train_cfg.max_epochs=one: the config has the number 4 there'),
        ({'optim_wrapper.optimizer.lr': 'fast'}, r'optimizer.lr=fast: the config has the number 0\.1 there'),
        ({'train_cfg.max_epochs': 0}, 'train_cfg.max_epochs=0 must be a whole number of 1 or more'),
        ({'val_dataloader.batch_size': 0}, 'val_dataloader.batch_size=0 must be a whole number'),
        ({'val_dataloader.batch_size': 1.5}, 'val_dataloader.batch_size=1.5 must be a whole number'),
    ],
)
def test_cfg_options_of_another_kind_are_named(options, message, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        'train_cfg = dict(by_epoch=True, max_epochs=4)\n'
        'optim_wrapper = dict(optimizer=dict(lr=0.1), loss_scale=512.0)\n'
        'val_dataloader = dict(batch_size=8)\n'
    )
    with pytest.raises(launch.UsageError, match=message):
        launch.load_config(str(config), options)
    taken = {'train_cfg.by_epoch': 'yes', 'val_dataloader.batch_size': 2}
    cfg = launch.load_config(str(config), {**taken, 'optim_wrapper.loss_scale': 'dynamic'})
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert (cfg.train_cfg.by_epoch, cfg.val_dataloader.batch_size) == ('yes', 2)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(\n', "config.py cannot be read .*SyntaxError: '\\(' was never closed"),
        ('a = 1\nb = c\n', "config.py cannot be read .*NameError: name 'c' is not defined .*line 2"),
        ('a = int("x")\n', 'config.py cannot be read .*ValueError: invalid literal'),
        (
            "custom_imports = dict(imports=['gone_module'], allow_failed_imports=False)\n",
            'config.py names custom_imports that fail: Failed to import gone_module .*No module .*PYTHONPATH',
        ),
    ],
)
def test_a_config_that_cannot_be_read_is_named_in_one_line(text, message, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(text)
    with pytest.raises(launch.UsageError, match=message) as raised:
        launch.load_config(str(config))
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('modle.teacher_cache', "the config has no 'modle'; did you mean model"),
        ('train_dataloder.batch_size', "the config has no 'train_dataloder'; did you mean train_dataloader"),
        ('batch', "the config has no 'batch'; write it into the config"),
    ],
)
def test_a_setting_that_nobody_reads_is_refused(key, message):
    with pytest.raises(launch.UsageError, match=message):
        launch.load_config('lfi_vit-tiny_shapes', {key: 1})


@pytest.mark.parametrize(
    'key',
    ['load_from', 'randomness.seed', 'auto_scale_lr.enable', 'num_classes', 'runner_type', 'sync_bn'],
)
def test_settings_that_the_runner_or_the_config_reads_are_taken(key):
    launch.load_config('lfi_vit-tiny_shapes', {key: 1})


def test_modules_that_cfg_options_add_are_imported(tmp_path, monkeypatch):
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['lfi'], allow_failed_imports=False)\n"
    )
    (tmp_path / 'added_module.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    path = str(tmp_path / 'config.py')
    launch.load_config(path, {'custom_imports.imports': ['lfi', 'added_module']})
    assert 'added_module' in sys.modules
    with pytest.raises(launch.UsageError, match=r'custom_imports=.*gone_module.* PYTHONPATH'):
        launch.load_config(path, {'custom_imports.imports': ['gone_module']})


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet'])
def test_dataloader_defaults(scope):
    cfg = Config(
        {
            'default_scope': scope,
            'train_dataloader': {'num_workers': 2},
            'val_dataloader': {'num_workers': 0, 'persistent_workers': True, 'pin_memory': True},
            'test_dataloader': None,
        }
    )
    launch.set_dataloader_defaults(cfg)
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.train_dataloader.pin_memory is torch.cuda.is_available()
    assert ('collate_fn' in cfg.train_dataloader) == (scope == 'mmpretrain')
    assert cfg.val_dataloader.persistent_workers is False
    assert cfg.val_dataloader.pin_memory is True
    assert cfg.test_dataloader is None


def test_amp_by_device(monkeypatch):
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}})
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    launch.enable_amp(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')

    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    launch.enable_amp(cfg)
    model = torch.nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 2))
        assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype == torch.float32

    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(launch.UsageError, match='ApexOptimWrapper'):
        launch.enable_amp(cfg)


def test_auto_scale_lr():
    cfg = Config({'auto_scale_lr': {'base_batch_size': 8, 'enable': False}})
    launch.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(launch.UsageError, match='base_batch_size'):
        launch.enable_auto_scale_lr(Config({'auto_scale_lr': None}))


def test_checkpoints_are_written_atomically_unless_the_config_says_how():
    cfg = Config({})
    launch.write_checkpoints_atomically(cfg)
    hook = {'type': 'CheckpointHook', 'interval': 1, 'backend_args': {'backend': 'lfi_atomic'}}
    assert cfg.default_hooks.checkpoint == hook
    for settings in (
        {'out_dir': 's3://bucket'},
        {'backend_args': None},
        {'file_client_args': {'backend': 'disk'}},
    ):
        cfg = Config({'default_hooks': {'checkpoint': {'type': 'CheckpointHook', **settings}}})
        launch.write_checkpoints_atomically(cfg)
        assert cfg.default_hooks.checkpoint.get('backend_args') is None


def test_resume(tmp_path):
    cfg = Config({'work_dir': str(tmp_path), 'load_from': 'pretrained.pth'})
    launch.set_resume(cfg, None)
    assert 'resume' not in cfg
    launch.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    torch.save({}, tmp_path / 'epoch_1.pth')
    launch.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(launch.UsageError, match=r'no_such\.pth does not exist'):
        launch.set_resume(cfg, 'no_such.pth')


def test_resume_by_the_config(tmp_path):
    torch.save({}, tmp_path / 'epoch_1.pth')
    cfg = Config({'work_dir': str(tmp_path), 'resume': True})
    launch.set_resume(cfg, None)
    assert cfg.load_from == str(tmp_path / 'epoch_1.pth')


def test_draw_predictions(tmp_path):
    for hook, setting in (('VisualizationHook', 'out_dir'), ('mmdet.DetVisualizationHook', 'test_out_dir')):
        cfg = Config({'default_hooks': {'visualization': {'type': hook}}})
        launch.draw_predictions(cfg, str(tmp_path))
        assert cfg.default_hooks.visualization[setting] == str(tmp_path)
    with pytest.raises(launch.UsageError, match='default_hooks.visualization'):
        launch.draw_predictions(Config({}), str(tmp_path))


def test_tta():
    cfg = Config({'model': {'type': 'Model'}, 'test_dataloader': {'dataset': {'dataset': {'pipeline': [1]}}}})
    with pytest.raises(launch.UsageError, match='tta_model and tta_pipeline'):
        launch.enable_tta(cfg)
    cfg.tta_model, cfg.tta_pipeline = ConfigDict(type='TTA'), [2]
    launch.enable_tta(cfg)
    assert cfg.model == {'type': 'TTA', 'module': {'type': 'Model'}}
    assert cfg.test_dataloader.dataset.dataset.pipeline == [2]


@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('slurm', {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1'}),
        (
            'mpi',
            {'OMPI_COMM_WORLD_RANK': '3', 'OMPI_COMM_WORLD_SIZE': '4', 'OMPI_COMM_WORLD_LOCAL_RANK': '1'},
        ),
        ('pytorch', {'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1'}),
    ],
)
def test_launchers_look_alike(monkeypatch, launcher, variables):
    env = {**dict(zip(variables, ('3', '4', '1'))), 'MASTER_ADDR': 'host'}
    joined = []
    monkeypatch.setattr(launch.os, 'environ', env)
    monkeypatch.setattr(torch.distributed, 'init_process_group', joined.append)
    cfg = Config({'find_unused_parameters': True})
    launch.start_processes(cfg, launcher)
    assert (env['RANK'], env['WORLD_SIZE'], env['LOCAL_RANK']) == ('3', '4', '1')
    assert env['MASTER_PORT'] == ('20000' if launcher == 'slurm' else '29500')
    assert joined == ['gloo']
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


@pytest.mark.parametrize(
    ('variables', 'port'),
    [
        (dict(SLURM_JOB_ID='12345'), '20345'),
        (dict(SLURM_JOB_ID='12345', SLURM_STEP_ID='2'), '20347'),
        (dict(SLURM_JOB_ID='12345', MASTER_PORT='29503'), '29503'),
    ],
)
def test_slurm_jobs_have_ports_of_their_own(monkeypatch, variables, port):
    env = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0', MASTER_ADDR='host', **variables)
    monkeypatch.setattr(launch.os, 'environ', env)
    # On a GPU the Runner joins the processes, by this variable.
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    launch.start_processes(Config({}), 'slurm')
    assert env['MASTER_PORT'] == port


def test_launcher_without_its_variables(monkeypatch):
    monkeypatch.setattr(launch.os, 'environ', {})
    with pytest.raises(launch.UsageError, match='SLURM_PROCID'):
        launch.start_processes(Config({}), 'slurm')


def test_one_line_for_a_mistake():
    def main():
        raise launch.UsageError('what is wrong')

    with pytest.raises(SystemExit, match='error: what is wrong'):
        launch.run(main)


def test_ctrl_c_ends_in_a_word(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        launch.run(main)
    assert stopped.value.code == 130 and capsys.readouterr().err == 'stopped\n'
