import statistics
from types import SimpleNamespace

import pytest
import torch
from lfi.models.losses.means import ChannelStandardisation, RunningMean, scale_to_joined_batch, shared_mean
from mmengine import dist
from mmengine.hooks import EMAHook
from mmengine.runner import load_state_dict
from torch import nn


def test_the_shared_mean_is_the_weighted_mean():
    values, weights = torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 3.0, 0.0])
    assert shared_mean(values, weights).item() == 4
    assert shared_mean(values, torch.zeros(3)).item() == 0
    assert shared_mean(values, torch.tensor([True, False, True])).item() == 5


def test_the_mean_over_processes_is_that_of_one_batch(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    values, weights = torch.rand(2, 8, generator=generator)
    # The second process has hardly a weight.
    weights[4:] *= 0.01
    parts = [slice(0, 4), slice(4, 8)]
    mean = torch.stack([weights[part].sum() for part in parts]).mean()
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(dist, 'all_reduce', lambda total, op: total.copy_(mean))
    losses = [shared_mean(values[part], weights[part]) for part in parts]
    torch.testing.assert_close(torch.stack(losses).mean(), (values * weights).sum() / weights.sum())


def test_in_one_process_losses_stay_as_they_are():
    losses = dict(loss=torch.tensor(2.0), accuracy=torch.tensor(50.0))
    assert scale_to_joined_batch(losses, 3) == losses


@pytest.mark.parametrize('counts', [(1, 4), (0, 3), (0, 0)])
def test_means_of_the_processes_become_that_of_one_batch(monkeypatch, counts):
    values = torch.rand(sum(counts), generator=torch.Generator().manual_seed(0))
    parts = values.split(counts)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(dist, 'all_reduce', lambda total, op: total.copy_(torch.tensor(sum(counts) / 2)))
    weighed = [
        scale_to_joined_batch(
            dict(
                loss=part.sum() / max(len(part), 1),
                loss_of_stages=[part.sum() / max(len(part), 1)],
                accuracy=7,
            ),
            len(part),
        )
        for part in parts
    ]
    whole = values.sum() / max(len(values), 1)
    torch.testing.assert_close(sum(losses['loss'] for losses in weighed) / 2, whole)
    torch.testing.assert_close(sum(losses['loss_of_stages'][0] for losses in weighed) / 2, whole)
    assert [losses['accuracy'] for losses in weighed] == [7, 7]


def weighted_batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 4, 2, 5, generator=generator)  # three weighted_batches of four
    weights = torch.rand(3, 4, 5, generator=generator)
    # One entry has no weight before the second batch, another never.
    weights[0, :, 0] = weights[:, :, 1] = 0
    return values, weights


def add(mean, values, weights):
    mean.add((values * weights[:, None]).sum(0), weights.sum(0))


def test_the_running_mean_is_that_of_all_that_was_seen():
    values, weights = weighted_batches()
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


def test_a_resumed_run_goes_on_with_its_running_mean():
    values, weights = weighted_batches()
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
    values, weights = weighted_batches()
    one, ours = RunningMean(), RunningMean()
    add(one, values[:2].flatten(0, 1), weights[:2].flatten(0, 1))
    others = [(values[1] * weights[1][:, None]).sum(0), weights[1].sum(0)]
    monkeypatch.setattr(dist, 'all_reduce', lambda x, op: x.add_(others.pop(0)))
    add(ours, values[0], weights[0])
    torch.testing.assert_close(ours.mean, one.mean)


def test_images_of_several_sizes_have_no_mean():
    mean = RunningMean()
    with pytest.raises(RuntimeError, match='the running mean is empty'):
        _ = mean.mean
    mean.add(torch.ones(2, 2), torch.ones(()))
    with pytest.raises(ValueError, match=r'a mean of shape \(2, 2\) got a batch of shape \(3, 3\)'):
        mean.add(torch.ones(3, 3), torch.ones(()))


@pytest.mark.parametrize('update_buffers', [False, True])
def test_averaged_weights_leave_a_running_mean_and_the_buffers_after_it_alone(update_buffers):
    """EMAHook takes buffers by their order, and states by their names."""
    torch.manual_seed(0)
    values, weights = weighted_batches()
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


def test_a_running_mean_moves_with_its_model():
    mean = RunningMean()
    mean.load_state_dict({'_mean': torch.ones(2), '_weight': torch.ones(())})
    assert mean.to('meta').mean.device.type == 'meta'


def batches(sizes=(4, 1, 7)):
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.tensor([0.01, 1.0, 20.0]), torch.tensor([5.0, 0.0, -9.0])
    return [scale * torch.randn(n, 6, 3, generator=generator) + shift for n in sizes]


def expected(features, seen):
    """Channel by channel."""
    columns = []
    for c in range(3):
        values = torch.cat([x[..., c].flatten() for x in seen]).double().tolist()
        mean, deviation = statistics.fmean(values), statistics.pstdev(values)
        columns.append((features[..., c].double() - mean) / deviation)
    return torch.stack(columns, -1).float()


def test_channels_are_standardised_by_all_that_training_has_seen():
    standardise = ChannelStandardisation(3)
    seen = []
    for features in batches():
        seen.append(features)
        torch.testing.assert_close(standardise(features), expected(features, seen), atol=1e-2, rtol=1e-3)
    before = standardise.mean
    standardise.eval()(features + 100)
    assert torch.equal(standardise.mean, before)


def test_a_channel_that_never_changes_is_zero():
    features = torch.full((2, 4, 1), 3.0)
    assert torch.equal(ChannelStandardisation(1)(features), torch.zeros(2, 4, 1))


def test_the_statistics_are_those_of_all_processes(monkeypatch):
    ours, others = batches((4, 2))
    one, two = ChannelStandardisation(3), ChannelStandardisation(3)
    one(torch.cat((ours, others)))
    rows = others.flatten(0, 1)
    mean = torch.cat((ours, others)).flatten(0, 1).mean(0)
    others = [torch.tensor(12.0), rows.sum(0), (rows - mean).square().sum(0)]
    monkeypatch.setattr(dist, 'all_reduce', lambda x, op: x.add_(others.pop(0)))
    two(ours)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value)
