"""A model's own schedule and image sizes, for other numbers of epochs and pixels."""

import pytest
import torch
from lfi.engine.max_epochs_option import scaled_epochs
from lfi.new_config.settings import Settings
from lfi.new_config.tasks.image_size import scale_pipelines
from lfi.new_config.tasks.project_config import own_config
from lfi.new_config.tasks.schedule import adamw_schedule, fitting_epochs, scaled_iterations, scaled_schedule
from mmengine.registry import PARAM_SCHEDULERS

RTMDET = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'


def test_epochs_move_in_proportion():
    variables = scaled_schedule(own_config(RTMDET), 30)
    warmup, cosine = variables['param_scheduler']
    assert (warmup['by_epoch'], warmup['end']) == (False, 1000)
    assert (cosine['begin'], cosine['end'], cosine['T_max']) == (15, 30, 15)
    assert variables['train_cfg']['val_interval'] == 1
    assert variables['train_cfg']['dynamic_intervals'] == [(28, 1)]
    assert [hook['switch_epoch'] for hook in variables['custom_hooks'] if 'switch_epoch' in hook] == [28]


def test_one_epoch_ends_after_it_begins():
    for scheduler in scaled_schedule(own_config(RTMDET), 1)['param_scheduler']:
        assert scheduler['begin'] < scheduler['end']


def test_iterations_are_validated_ten_times():
    cfg = {
        'train_cfg': {'max_iters': 80_000, 'val_interval': 8000},
        'param_scheduler': [
            {'type': 'LinearLR', 'by_epoch': False, 'begin': 0, 'end': 1600},
            {'type': 'PolyLR', 'by_epoch': False, 'begin': 1600, 'end': 80_000},
        ],
    }
    variables = scaled_iterations(cfg, 500)
    assert variables['train_cfg'] == {'max_iters': 500, 'val_interval': 50}
    warmup, decay = variables['param_scheduler']
    assert (warmup['end'], decay['begin'], decay['end']) == (10, 10, 500)
    assert variables['default_hooks']['checkpoint']['interval'] == 50


def test_milestones_stay_in_order():
    faster = own_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert scaled_schedule(faster, 24)['param_scheduler'][1]['milestones'] == [16, 22]


def test_all_sizes_of_the_pipelines_are_scaled():
    cfg = own_config(RTMDET)
    variables = scale_pipelines(cfg, 320)
    test = variables['val_dataloader']['dataset']['pipeline']
    assert next(step['scale'] for step in test if step['type'] == 'Resize') == (320, 320)
    (switched,) = (hook['switch_pipeline'] for hook in variables['custom_hooks'] if 'switch_pipeline' in hook)
    assert next(step['crop_size'] for step in switched if step['type'] == 'RandomCrop') == (320, 320)


def test_the_warm_up_takes_a_twentieth_of_the_steps():
    assert adamw_schedule(100, 16, 160)['param_scheduler'][0]['end'] == 50
    assert adamw_schedule(1, 16, 160)['param_scheduler'][0]['end'] == 2
    assert adamw_schedule(100, 128, 10**6)['param_scheduler'][0]['end'] == 500


def rates(scheduler, steps, epoch_length):
    """Learning rates, of 1 after the warm-up, that MMEngine sets in the steps of a training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = PARAM_SCHEDULERS.build(
        scheduler, default_args=dict(optimizer=optimizer, epoch_length=epoch_length)
    )
    values = []
    for step in range(1, steps + 1):
        values.append(optimizer.param_groups[0]['lr'])
        if not scheduler.by_epoch or step % epoch_length == 0:
            scheduler.step()
    return values


@pytest.mark.parametrize('epochs', [1, 2, 3, 100])
def test_a_warm_up_ends_in_the_shortest_training(epochs):
    scheduler = dict(adamw_schedule(epochs, 16, 40)['param_scheduler'][0])
    assert rates(scheduler, 3 * epochs, 3)[-1] == pytest.approx(1)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('factor', [0.01, 0.2, 0.4, 1])
def test_a_shortened_warm_up_ends(factor, by_epoch):
    scheduler = dict(type='LinearLR', start_factor=0.01, by_epoch=by_epoch, begin=0, end=5)
    assert rates(scaled_epochs(scheduler, factor), 60, 10)[-1] == pytest.approx(1)


def test_the_warm_up_of_a_detector_fits_a_small_data_set():
    cfg = own_config(RTMDET)
    assert not fitting_epochs(cfg, Settings(), 100_000)
    for settings, end in (
        (Settings(), 300),
        (Settings(epochs=2), 2),
        (Settings(epochs=20, batch_size=1), 64),
    ):
        warmup = fitting_epochs(cfg, settings, 32 if settings.epochs else 320)['param_scheduler'][0]
        assert warmup['end'] == end
