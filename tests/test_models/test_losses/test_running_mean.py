from types import SimpleNamespace

import pytest
import torch
from lfi.models.losses.running_mean import RunningMean
from mmengine import dist
from mmengine.hooks import EMAHook
from mmengine.runner import load_state_dict
from torch import nn


def batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 4, 2, 5, generator=generator)  # three batches of four
    weights = torch.rand(3, 4, 5, generator=generator)
    # One entry has no weight before the second batch, another never.
    weights[0, :, 0] = weights[:, :, 1] = 0
    return values, weights


def add(mean, values, weights):
    mean.add((values * weights[:, None]).sum(0), weights.sum(0))


def test_it_is_the_weighted_mean_of_all_that_was_seen():
    values, weights = batches()
    mean = RunningMean()
    for batch in zip(values, weights):
        add(mean, *batch)
    for i in range(2):
        for j in range(5):
            weight = weights[..., j].sum().item()
            total = sum(
                weights[n, b, j].item() * values[n, b, i, j].item() for n in range(3) for b in range(4)
            )
            assert mean.mean[i, j].item() == pytest.approx(total / weight if weight else 0, abs=1e-5)


def test_a_resumed_run_goes_on_with_it():
    values, weights = batches()
    unbroken, stopped, resumed = RunningMean(), RunningMean(), RunningMean()
    for batch in zip(values, weights):
        add(unbroken, *batch)
    add(stopped, values[0], weights[0])
    assert not resumed.state_dict()
    load_state_dict(resumed, stopped.state_dict(), strict=True)
    for batch in zip(values[1:], weights[1:]):
        add(resumed, *batch)
    assert torch.equal(unbroken.mean, resumed.mean)


def test_the_mean_over_processes_is_that_of_one(monkeypatch):
    values, weights = batches()
    one, ours = RunningMean(), RunningMean()
    add(one, values[:2].flatten(0, 1), weights[:2].flatten(0, 1))
    others = [(values[1] * weights[1][:, None]).sum(0), weights[1].sum(0)]
    monkeypatch.setattr(dist, 'all_reduce', lambda x, op: x.add_(others.pop(0)))
    add(ours, values[0], weights[0])
    torch.testing.assert_close(ours.mean, one.mean)


def test_images_of_several_sizes_have_no_mean():
    mean = RunningMean()
    with pytest.raises(RuntimeError, match='there is no mean of nothing'):
        _ = mean.mean
    mean.add(torch.ones(2, 2), torch.ones(()))
    with pytest.raises(ValueError, match=r'a mean of shape \(2, 2\) got a batch of shape \(3, 3\)'):
        mean.add(torch.ones(3, 3), torch.ones(()))


@pytest.mark.parametrize('update_buffers', [False, True])
def test_averaged_weights_leave_it_and_the_buffers_after_it_alone(update_buffers):
    """EMAHook takes buffers by their order, and states by their names."""
    torch.manual_seed(0)
    values, weights = batches()
    model = nn.Sequential(RunningMean(), nn.BatchNorm1d(3), nn.Linear(3, 3))
    runner = SimpleNamespace(model=model, iter=5, epoch=0, _resume=True)
    hook = EMAHook(momentum=0.5, update_buffers=update_buffers)
    hook.before_run(runner)
    for batch in zip(values, weights):
        add(model[0], *batch)
        model[1](torch.randn(4, 3))
        hook.after_train_iter(runner, 0)
    mean = model[0].mean.clone()
    if not update_buffers:
        assert torch.equal(hook.ema_model.module[1].running_var, model[1].running_var)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    hook.before_val_epoch(runner)
    assert torch.equal(model[0].mean, mean)
    hook.after_val_epoch(runner)

    checkpoint = dict(state_dict=model.state_dict())
    hook.before_save_checkpoint(runner, checkpoint)
    resumed = nn.Sequential(RunningMean(), nn.BatchNorm1d(3), nn.Linear(3, 3))
    other = SimpleNamespace(model=resumed, iter=5, epoch=0, _resume=True)
    averages = EMAHook(momentum=0.5, update_buffers=update_buffers)
    averages.before_run(other)
    averages.after_load_checkpoint(other, checkpoint)
    load_state_dict(resumed, checkpoint['state_dict'], strict=True)
    assert torch.equal(resumed[0].mean, mean)
    assert all(torch.equal(value, trained[name]) for name, value in resumed.state_dict().items())


def test_it_moves_with_its_model():
    mean = RunningMean()
    mean.load_state_dict({'_mean': torch.ones(2), '_weight': torch.ones(())})
    assert mean.to('meta').mean.device.type == 'meta'
