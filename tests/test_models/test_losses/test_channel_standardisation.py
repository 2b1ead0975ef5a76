import statistics

import torch
from lfi.models.losses.channel_standardisation import ChannelStandardisation
from mmengine import dist


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
    ours, theirs = batches((4, 2))
    one, two = ChannelStandardisation(3), ChannelStandardisation(3)
    one(torch.cat((ours, theirs)))
    rows = theirs.flatten(0, 1)
    mean = torch.cat((ours, theirs)).flatten(0, 1).mean(0)
    others = [torch.tensor(12.0), rows.sum(0), (rows - mean).square().sum(0)]
    monkeypatch.setattr(dist, 'all_reduce', lambda x, op: x.add_(others.pop(0)))
    two(ours)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value)
