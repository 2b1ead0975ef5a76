import sys

import pytest
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError


def test_cfg_options_that_do_not_fit(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('steps = [1, 2]\n')
    assert load_config(str(config), {'steps': [3], 'env_cfg.key': 1}).env_cfg.key == 1
    for options in ({'steps.9': 1}, {'steps.0.a': 1}):
        with pytest.raises(UsageError, match='--cfg-options .* does not fit'):
            load_config(str(config), options)


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
    with pytest.raises(UsageError, match=message):
        load_config(str(config), options)
    taken = {'train_cfg.by_epoch': 'yes', 'val_dataloader.batch_size': 2}
    cfg = load_config(str(config), {**taken, 'optim_wrapper.loss_scale': 'dynamic'})
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
    with pytest.raises(UsageError, match=message) as raised:
        load_config(str(config))
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('modle.teacher.cache', "the config has no 'modle'; did you mean model"),
        ('train_dataloder.batch_size', "the config has no 'train_dataloder'; did you mean train_dataloader"),
        ('batch', "the config has no 'batch'; write it into the config"),
    ],
)
def test_a_setting_that_nobody_reads_is_refused(key, message):
    with pytest.raises(UsageError, match=message):
        load_config('lfi_vit-128x6-p8_shapes', {key: 1})


@pytest.mark.parametrize(
    'key',
    ['load_from', 'randomness.seed', 'auto_scale_lr.enable', 'runner_type', 'sync_bn'],
)
def test_settings_that_the_runner_or_the_config_reads_are_taken(key):
    load_config('lfi_vit-128x6-p8_shapes', {key: 1})


def test_a_variable_is_refused_while_settings_hold_its_value(tmp_path, monkeypatch):
    config = tmp_path / 'config.py'
    config.write_text(
        "num_classes, domain, steps, my_key = 3, 'sketch', [dict(type='LoadImageFromFile')], 7\n"
        'model = dict(backbone=dict(depth=7), head=dict(num_classes=num_classes))\n'
        'train_dataloader = dict(dataset=dict(domains=[domain], pipeline=steps))\n'
    )
    for key, settings in (
        ('num_classes', 'model.head.num_classes'),
        ('domain', 'train_dataloader.dataset.domains.0'),
        ('steps.0.type', 'train_dataloader.dataset.pipeline'),
    ):
        with pytest.raises(UsageError, match=f'{key}=5: .* is a variable; .*: set {settings}$'):
            load_config(str(config), {key: 5})
    # The user's own code may read it, or settings may be computed from it.
    logged = []
    monkeypatch.setattr('lfi.engine.config_loading.print_log', lambda text, *_: logged.append(text))
    assert load_config(str(config), {'my_key': 5}).my_key == 5
    assert load_config(str(config), {'num_classes': 5, 'model.head.num_classes': 5}).num_classes == 5
    (warning,) = logged
    assert 'my_key=5: my_key is a variable; settings that are computed from it keep their values' in warning


def test_modules_that_cfg_options_add_are_imported(tmp_path, monkeypatch):
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['lfi'], allow_failed_imports=False)\n"
    )
    (tmp_path / 'added_module.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    path = str(tmp_path / 'config.py')
    load_config(path, {'custom_imports.imports': ['lfi', 'added_module']})
    assert 'added_module' in sys.modules
    with pytest.raises(UsageError, match=r'custom_imports=.*gone_module.* PYTHONPATH'):
        load_config(path, {'custom_imports.imports': ['gone_module']})


def test_an_option_of_a_backbone_inside_an_adapter_is_written_anew(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        "backbone = dict(type='lfi.InteractionQueryAdapter', backbone=dict(type='ResNet', depth=18))\n"
        'model = dict(backbone=backbone)\n'
    )
    for name in ('depth', 'init_cfg.checkpoint'):
        with pytest.raises(UsageError, match=f'inside an adapter, write model.backbone.backbone.{name}=34'):
            load_config(str(config), {f'model.backbone.{name}': 34})
    options = {'model.backbone.backbone.depth': 34, 'model.backbone.num_queries': 4}
    backbone = load_config(str(config), options).model.backbone
    assert (backbone.backbone.depth, backbone.num_queries) == (34, 4)
