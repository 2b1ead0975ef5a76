import pytest
import torch
from lfi.models.losses.running_mean import RunningMean
from mmengine import dist
from mmengine.runner import load_state_dict


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
