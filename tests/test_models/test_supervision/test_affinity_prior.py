"""`AffinityPrior` against its formula, location by location."""

import copy
import math

import pytest
import torch
from part_inputs import build, outputs_of
from part_inputs import features as random_features

GRIDS = [(4, 4), (2, 5), (1, 3)]
ODDS, REACH, TEMPERATURE = 28.3, 0.55, 0.1


def prior(**kwargs):
    return build('lfi.AffinityPrior', **kwargs)


def features(grid, seed=0, batch=3, dims=6):
    return torch.randn(batch, dims, *grid, generator=torch.Generator().manual_seed(seed))


def test_it_reads_the_patch_tokens_and_no_teacher():
    student = random_features(6, (3, 4))
    valid = torch.ones(3, 3, 4, dtype=torch.bool)
    valid[1, :, 2:] = False
    part = prior()
    assert (part.teacher_outputs, part.student_outputs) == (set(), {'locations'})
    for shown in (None, valid):
        assert part(outputs_of(student, shown), None) == part.compare(student.locations, shown)


def expected_target(grid, valid=None):
    """Rows of affinities, by loops."""
    cells = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    there = [True] * len(cells) if valid is None else valid.flatten().tolist()
    scale = REACH * math.sqrt(grid[0] * grid[1])
    rows = []
    for i, a in enumerate(cells):
        near = [math.exp(-math.dist(a, b) / scale) * there[j] * (j != i) for j, b in enumerate(cells)]
        total = sum(near)
        weight = ODDS / (ODDS + sum(there) - 1) if total else 1.0
        row = [(1 - weight) * value / total if total else 0.0 for value in near]
        row[i] = weight
        rows.append(row)
    return rows


def expected_loss(locations, valid=None):
    images = []
    for b, image in enumerate(locations):
        tokens = image.flatten(1).T
        unit = (tokens / tokens.norm(dim=1, keepdim=True)).double()
        there = [True] * len(unit) if valid is None else valid[b].flatten().tolist()
        target = expected_target(image.shape[-2:], None if valid is None else valid[b])
        cells = [i for i in range(len(unit)) if there[i]]
        rows = []
        for i in cells:
            scores = {j: math.exp((unit[i] @ unit[j]).item() / TEMPERATURE) for j in cells}
            total = sum(scores.values())
            pairs = [(target[i][j], scores[j] / total) for j in cells]
            rows.append(sum(p * math.log(p / q) for p, q in pairs if p))
        if rows:
            images.append(sum(rows) / len(rows))
    return sum(images) / len(images)


@pytest.mark.parametrize('grid', [*GRIDS, (1, 1)])
def test_the_target_is_itself_and_then_what_is_near(grid):
    target = prior().affinity(grid)
    torch.testing.assert_close(target, torch.tensor(expected_target(grid)))
    torch.testing.assert_close(target.sum(1), torch.ones(len(target)))


@pytest.mark.parametrize('grid', GRIDS)
def test_the_loss_is_the_divergence_from_the_target(grid):
    loss = prior(loss_weight=3.0)
    locations = features(grid)
    got = loss.compare(locations)
    assert list(got) == ['loss_prior']
    assert got['loss_prior'].item() == pytest.approx(3 * expected_loss(locations), rel=1e-4)


def test_padding_is_neither_itself_nor_another():
    locations = features((3, 4), batch=4)
    valid = torch.ones(4, 3, 4, dtype=torch.bool)
    valid[0, :, 2:] = False
    valid[1, 1:] = False
    valid[2] = False
    valid[2, 0, 0] = True  # alone
    loss = prior(loss_weight=1.0)
    locations.requires_grad_()
    value = loss.compare(locations, valid)['loss_prior']
    assert value.item() == pytest.approx(expected_loss(locations.detach(), valid), rel=1e-4)
    value.backward()
    hidden = ~valid[:, None].expand_as(locations)
    assert locations.grad[hidden].abs().max() == 0
    assert locations.grad[2].abs().max() == 0
    assert locations.grad.isfinite().all()
    changed = torch.where(hidden, 100 * features((3, 4), seed=1, batch=4), locations.detach())
    torch.testing.assert_close(loss.compare(changed, valid)['loss_prior'], value.detach())


def test_images_without_a_valid_location_count_for_nothing():
    locations = features((3, 3)).requires_grad_()
    valid = torch.ones(3, 3, 3, dtype=torch.bool)
    valid[1] = False
    value = prior().compare(locations, valid)['loss_prior']
    torch.testing.assert_close(value, prior().compare(locations[[0, 2]])['loss_prior'])
    value.backward()
    assert locations.grad.isfinite().all()
    nothing = prior().compare(locations, torch.zeros_like(valid))['loss_prior']
    assert nothing.item() == 0


def test_a_single_location_costs_nothing():
    assert prior().compare(features((1, 1)))['loss_prior'].item() == pytest.approx(0, abs=1e-6)


def test_the_target_of_a_grid_is_computed_once():
    loss = prior()
    first = loss.affinity((4, 4))
    assert loss.affinity((4, 4)) is first
    assert loss.affinity((4, 2)).shape == (8, 8)
    assert torch.equal(loss.affinity((4, 4)), first)
    assert not loss.state_dict()
    assert torch.equal(copy.deepcopy(loss).affinity((4, 4)), first)


def test_it_is_shielded_from_autocast():
    locations = features((4, 4)).bfloat16()
    loss = prior()
    expected = loss.compare(locations.float())['loss_prior']
    with torch.autocast('cpu', torch.bfloat16):
        got = loss.compare(locations)['loss_prior']
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)
