"""The curves of a run, from its log."""

import json

import pytest
from lfi.apis.run_report.history import read_history
from mmengine.config import Config

BY_EPOCH = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=2)))


def write_log(folder, *rows, name='20260101_000000'):
    file = folder / name / 'vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, rows)))


def test_epochs_have_the_mean_loss_and_their_validation(tmp_path):
    write_log(
        tmp_path,
        {'lr': 0.1, 'loss_cls': 1.0, 'loss': 2.0, 'grad_norm': 3.0, 'epoch': 1, 'iter': 10, 'step': 10},
        {'lr': 0.1, 'loss_cls': 2.0, 'loss': 4.0, 'grad_norm': 3.0, 'epoch': 1, 'iter': 20, 'step': 20},
        {'top5': 50.0, 'top1': 25.0, 'data_time': 0.1, 'time': 0.2, 'step': 1},
        {'lr': 0.1, 'loss_cls': 0.5, 'loss': 1.0, 'epoch': 2, 'iter': 30, 'step': 30},
    )
    config = Config({**BY_EPOCH.to_dict(), 'default_hooks': {'checkpoint': {'save_best': 'top1'}}})
    history = read_history(tmp_path, config)
    assert history.unit == 'epoch'
    assert history.losses == {'loss': {1: 3, 2: 1}, 'loss_cls': {1: 1.5, 2: 0.5}}
    assert [*history.losses] == ['loss', 'loss_cls']
    assert history.metrics == {'top1': {1: 25}, 'top5': {1: 50}} and history.main == ('top1', {1: 25})


def test_iterations_count_where_the_training_counts_them(tmp_path):
    write_log(
        tmp_path,
        {'loss': 2.0, 'iter': 10, 'step': 10},
        {'loss': 1.0, 'iter': 20, 'step': 20},
        {'mIoU': 30.0, 'step': 20},
    )
    history = read_history(tmp_path, Config(dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=20))))
    assert history.unit == 'iteration'
    assert history.losses == {'loss': {10: 2, 20: 1}} and history.metrics == {'mIoU': {20: 30}}


def test_names_with_a_hierarchy_are_the_same(tmp_path):
    write_log(
        tmp_path, {'train/loss': 2.0, 'epoch': 1, 'step': 10}, {'val/top1': 5.0, 'val/time': 1.0, 'step': 1}
    )
    history = read_history(tmp_path, BY_EPOCH)
    assert history.losses == {'loss': {1: 2}} and history.metrics == {'top1': {1: 5}}


def test_a_folder_without_a_log_has_no_curves(tmp_path):
    history = read_history(tmp_path, BY_EPOCH)
    assert not history.losses and not history.metrics and history.main is None


def test_the_later_of_two_equal_validations_counts(tmp_path):
    write_log(tmp_path, {'top1': 5.0, 'step': 1}, {'top1': 7.0, 'step': 1})
    assert read_history(tmp_path, BY_EPOCH).main == ('top1', {1: pytest.approx(7)})
