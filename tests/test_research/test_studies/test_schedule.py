import pytest
from mmengine.config import ConfigDict

from research.studies.schedule import fitted_schedule


@pytest.mark.parametrize(('epochs', 'warm_up'), [(100, 5), (200, 10), (30, 2), (4, 1), (2, 1)])
def test_the_schedule_keeps_its_parts(epochs, warm_up):
    schedulers = [dict(type='LinearLR', end=5), dict(type='CosineAnnealingLR', begin=5, end=100)]
    cfg = ConfigDict(train_cfg=dict(max_epochs=100), param_scheduler=schedulers)
    assert fitted_schedule(cfg, epochs) == [
        f'train_cfg.max_epochs={epochs}',
        f'param_scheduler.0.end={warm_up}',
        f'param_scheduler.1.begin={warm_up}',
        f'param_scheduler.1.end={epochs}',
    ]


def test_milestones_are_fitted_and_iterations_stay():
    schedulers = [
        dict(type='LinearLR', by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', by_epoch=True, milestones=[60, 80]),
        dict(type='CosineAnnealingLR', T_max=100),
    ]
    cfg = ConfigDict(train_cfg=dict(max_epochs=100), param_scheduler=schedulers)
    assert fitted_schedule(cfg, 20) == [
        'train_cfg.max_epochs=20',
        'param_scheduler.1.milestones=[12,16]',
        'param_scheduler.2.T_max=20',
    ]
