import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import region_iou

SEEDS = st.integers(0, 2**31 - 1)


def draw(seed, n=3, height=5, width=7):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(n, height, width, generator=generator) < 0.4
    masks[:, 0, 0] = True
    return torch.randn(n, height, width, generator=generator), masks


def test_a_hand_made_case():
    masks = torch.tensor([[[True, True, False, False]]])
    # One of the two strongest lies in the mask: one in common of three in all.
    assert region_iou(torch.tensor([[[0.9, 0.1, 0.8, 0.2]]]), masks).tolist() == pytest.approx([1 / 3])


@settings(max_examples=30)
@given(seed=SEEDS)
def test_it_equals_its_definition_and_sees_the_order_alone(seed):
    maps, masks = draw(seed)
    found = region_iou(maps, masks)
    for values, inside, iou in zip(maps.flatten(1).tolist(), masks.flatten(1).tolist(), found.tolist()):
        size = sum(inside)
        strongest = set(sorted(range(len(values)), key=lambda i: -values[i])[:size])
        region = {i for i, here in enumerate(inside) if here}
        assert iou == pytest.approx(len(strongest & region) / len(strongest | region))
    torch.testing.assert_close(region_iou(maps.exp() * 3 - 1, masks), found)


def test_a_perfect_map_and_a_flat_one():
    _, masks = draw(0)
    torch.testing.assert_close(region_iou(masks.float(), masks), torch.ones(3))
    torch.testing.assert_close(region_iou(torch.ones(masks.shape), masks), masks.float().mean((1, 2)))


def test_maps_in_random_order():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(1, 16, 16, generator=generator).lt(0.3).expand(500, -1, -1)
    share = masks[0].float().mean().item()
    found = region_iou(torch.rand(500, 16, 16, generator=generator), masks)
    assert found.mean().item() == pytest.approx(share / (2 - share), abs=0.01)


@pytest.mark.parametrize(
    ('maps', 'masks', 'words'),
    [
        (torch.zeros(1, 2, 2), torch.ones(1, 4, 4, dtype=torch.bool), r'maps is \(1, 2, 2\).*\(1, 4, 4\)'),
        (torch.zeros(1, 4, 4), torch.ones(1, 4, 4), 'masks is .*float32'),
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool), r'masks is empty for \[0, 1\]'),
    ],
)
def test_bad_arguments_are_named(maps, masks, words):
    with pytest.raises(ValueError, match=words):
        region_iou(maps, masks)
