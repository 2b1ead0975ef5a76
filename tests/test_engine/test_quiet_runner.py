"""The log of a training before its first epoch, on the console and in the log file."""

import lfi  # noqa: F401
import pytest
from lfi.engine import launch
from lfi.engine.quiet_runner import log_data
from mmengine.config import Config


@pytest.fixture
def cfg(tmp_path):
    dataset = dict(type='lfi.Shapes', split='train', num_images=6, pipeline=[dict(type='PackInputs')])
    return Config(
        dict(
            default_scope='mmpretrain',
            experiment_name=tmp_path.name,
            work_dir=str(tmp_path),
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=20, in_channels=64),
            ),
            train_dataloader=dict(
                batch_size=3,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01), paramwise_cfg=dict(norm_decay_mult=0.0)
            ),
        )
    )


def test_the_log_before_the_first_epoch_fits_on_a_screen(cfg, tmp_path, capsys):
    runner = launch.build_runner(cfg)
    log_data(runner)
    runner.train()
    said = capsys.readouterr().out
    (log,) = tmp_path.glob('*/*.log')
    written = log.read_text()
    start = said.split('Epoch(train)')[0].splitlines()
    assert len(start) < 24 and max(map(len, start)) < 250
    for name, text in (
        ('model', 'ImageClassifier, 0.18 M parameters'),
        ('data', '6 training images, 3 in a batch'),
        ('log', str(log)),
    ):
        assert text in said, name
    for text in (
        'System environment:',
        'Config:\ndefault_scope',
        'Hooks will be executed',
        'paramwise_options',
    ):
        assert text in written and text not in said
    assert 'FileClient' not in said + written and 'Saving checkpoint' in said


def test_warnings_and_errors_stay_on_the_console(cfg, capsys):
    runner = launch.build_runner(cfg)
    runner.logger.warning('the checkpoint lacks weights')
    assert 'the checkpoint lacks weights' in capsys.readouterr().out
