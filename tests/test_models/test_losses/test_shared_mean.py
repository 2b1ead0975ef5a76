import torch
from lfi.models.losses.shared_mean import shared_mean
from mmengine import dist


def test_it_is_the_weighted_mean():
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
