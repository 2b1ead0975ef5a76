import pytest
import torch
from lfi.models.losses.shared_mean import as_of_one_batch, shared_mean
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


def test_in_one_process_losses_stay_as_they_are():
    losses = dict(loss=torch.tensor(2.0), accuracy=torch.tensor(50.0))
    assert as_of_one_batch(losses, 3) == losses


@pytest.mark.parametrize('counts', [(1, 4), (0, 3), (0, 0)])
def test_means_of_the_processes_become_that_of_one_batch(monkeypatch, counts):
    values = torch.rand(sum(counts), generator=torch.Generator().manual_seed(0))
    parts = values.split(counts)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(dist, 'all_reduce', lambda total, op: total.copy_(torch.tensor(sum(counts) / 2)))
    weighed = [
        as_of_one_batch(
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
