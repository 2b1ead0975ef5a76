"""`AffinityPrior` against its formula, location by location."""

import copy
import math

import pytest
import torch
from lfi.models.losses.log_probabilities import log_affinity
from lfi.registry import MODELS

GRIDS = [(4, 4), (2, 5), (1, 3)]


def prior(**kwargs):
    return MODELS.build(dict(type='lfi.AffinityPrior', **kwargs))


def features(grid, seed=0, batch=3, dims=6):
    return torch.randn(batch, dims, *grid, generator=torch.Generator().manual_seed(seed))


def expected_target(grid, odds, reach, valid=None):
    """Rows of affinities, by loops."""
    cells = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    there = [True] * len(cells) if valid is None else valid.flatten().tolist()
    scale = reach * math.sqrt(grid[0] * grid[1])
    rows = []
    for i, a in enumerate(cells):
        near = [math.exp(-math.dist(a, b) / scale) * there[j] * (j != i) for j, b in enumerate(cells)]
        total = sum(near)
        weight = odds / (odds + sum(there) - 1) if total else 1.0
        row = [(1 - weight) * value / total if total else 0.0 for value in near]
        row[i] = weight
        rows.append(row)
    return rows


def expected_loss(locations, odds, reach, temperature, valid=None):
    images = []
    for b, image in enumerate(locations):
        tokens = image.flatten(1).T
        unit = (tokens / tokens.norm(dim=1, keepdim=True)).double()
        there = [True] * len(unit) if valid is None else valid[b].flatten().tolist()
        target = expected_target(image.shape[-2:], odds, reach, None if valid is None else valid[b])
        cells = [i for i in range(len(unit)) if there[i]]
        rows = []
        for i in cells:
            scores = {j: math.exp((unit[i] @ unit[j]).item() / temperature) for j in cells}
            total = sum(scores.values())
            pairs = [(target[i][j], scores[j] / total) for j in cells]
            rows.append(sum(p * math.log(p / q) for p, q in pairs if p))
        if rows:
            images.append(sum(rows) / len(rows))
    return sum(images) / len(images)


@pytest.mark.parametrize('grid', [*GRIDS, (1, 1)])
@pytest.mark.parametrize(('odds', 'reach'), [(28.3, 0.55), (0.5, 0.1)])
def test_the_target_is_itself_and_then_what_is_near(grid, odds, reach):
    target = prior(self_odds=odds, reach=reach).target(grid)
    torch.testing.assert_close(target, torch.tensor(expected_target(grid, odds, reach)))
    torch.testing.assert_close(target.sum(1), torch.ones(len(target)))


def test_the_default_is_what_was_fitted_on_eight_by_eight():
    target = prior().target((8, 8))
    cells = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    near = (-torch.cdist(cells, cells) / 4.4).exp().fill_diagonal_(0)
    expected = 0.69 * near / near.sum(1, keepdim=True) + 0.31 * torch.eye(64)
    torch.testing.assert_close(target, expected, atol=1e-4, rtol=1e-3)


def test_the_cosines_that_it_asks_for_are_those_of_any_grid():
    """Without distances (an endless reach) each pair's is 1 - temperature * ln(self_odds)."""
    loss = prior(reach=1e6)
    for side in (2, 8, 20):
        target = loss.target((side, side))
        cosine = 1 + 0.1 * (target[0, 1:] / target[0, 0]).log()
        torch.testing.assert_close(cosine, torch.full_like(cosine, 1 - 0.1 * math.log(28.3)))


@pytest.mark.parametrize('grid', GRIDS)
def test_the_loss_is_the_divergence_from_the_target(grid):
    loss = prior(temperature=0.5, loss_weight=3.0)
    locations = features(grid)
    got = loss(locations)
    assert list(got) == ['loss_affinity']
    assert got['loss_affinity'].item() == pytest.approx(
        3 * expected_loss(locations, 28.3, 0.55, 0.5), rel=1e-4
    )


def test_padding_is_neither_itself_nor_another():
    locations = features((3, 4), batch=4)
    valid = torch.ones(4, 3, 4, dtype=torch.bool)
    valid[0, :, 2:] = False
    valid[1, 1:] = False
    valid[2] = False
    valid[2, 0, 0] = True  # alone
    loss = prior(temperature=0.5, loss_weight=1.0)
    locations.requires_grad_()
    value = loss(locations, valid)['loss_affinity']
    assert value.item() == pytest.approx(expected_loss(locations.detach(), 28.3, 0.55, 0.5, valid), rel=1e-4)
    value.backward()
    hidden = ~valid[:, None].expand_as(locations)
    assert locations.grad[hidden].abs().max() == 0
    assert locations.grad[2].abs().max() == 0
    assert locations.grad.isfinite().all()
    changed = torch.where(hidden, 100 * features((3, 4), seed=1, batch=4), locations.detach())
    torch.testing.assert_close(loss(changed, valid)['loss_affinity'], value.detach())


def test_images_without_a_valid_location_count_for_nothing():
    locations = features((3, 3)).requires_grad_()
    valid = torch.ones(3, 3, 3, dtype=torch.bool)
    valid[1] = False
    value = prior()(locations, valid)['loss_affinity']
    torch.testing.assert_close(value, prior()(locations[[0, 2]])['loss_affinity'])
    value.backward()
    assert locations.grad.isfinite().all()
    nothing = prior()(locations, torch.zeros_like(valid))['loss_affinity']
    assert nothing.item() == 0


def test_a_valid_mask_of_all_changes_nothing():
    locations = features((3, 4))
    everything = torch.ones(3, 3, 4, dtype=torch.bool)
    torch.testing.assert_close(
        prior()(locations, everything)['loss_affinity'], prior()(locations)['loss_affinity']
    )


def test_a_single_location_costs_nothing():
    assert prior()(features((1, 1)))['loss_affinity'].item() == pytest.approx(0, abs=1e-6)


def test_a_reach_that_underflows_is_finite():
    locations = features((8, 8)).requires_grad_()
    value = prior(reach=1e-3)(locations)['loss_affinity']
    value.backward()
    assert value.isfinite()
    assert locations.grad.isfinite().all()


def test_the_target_of_a_grid_is_computed_once():
    loss = prior()
    first = loss.target((4, 4))
    assert loss.target((4, 4)) is first
    assert loss.target((4, 2)).shape == (8, 8)
    assert torch.equal(loss.target((4, 4)), first)
    assert not loss.state_dict()
    assert torch.equal(copy.deepcopy(loss).target((4, 4)), first)


def test_tokens_that_are_alike_are_driven_apart():
    torch.manual_seed(0)
    tokens = (torch.ones(1, 8, 1, 1) + 0.01 * torch.randn(1, 8, 4, 4)).requires_grad_()
    loss = prior()
    optimizer = torch.optim.SGD([tokens], lr=1.0)
    values = []
    for _ in range(50):
        values.append(loss(tokens)['loss_affinity'])
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]


def test_it_is_shielded_from_autocast():
    locations = features((4, 4)).bfloat16()
    loss = prior(temperature=0.02)
    expected = loss(locations.float())['loss_affinity']
    with torch.autocast('cpu', torch.bfloat16):
        got = loss(locations)['loss_affinity']
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


@pytest.mark.parametrize('arguments', [dict(self_odds=0), dict(reach=0), dict(temperature=-1)])
def test_arguments_out_of_range_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f'{name}={value} must be a number above 0'):
        prior(**arguments)


def test_affinities_are_softmaxes_of_cosines():
    locations = features((2, 3), batch=2)
    valid = torch.tensor([[[True, True, False], [True, True, False]], [[True] * 3] * 2])
    affinity = log_affinity(locations, 0.5, valid).exp()
    torch.testing.assert_close(affinity.sum(-1), torch.ones(2, 6))
    assert affinity[0][:, [2, 5]].max() == 0
    unit = locations.flatten(2) / locations.flatten(2).norm(dim=1, keepdim=True)
    scores = ((unit[1].T @ unit[1]) / 0.5).exp()
    torch.testing.assert_close(affinity[1], scores / scores.sum(1, keepdim=True))
