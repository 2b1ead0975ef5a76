import pytest
import torch
from lfi.models import SimpleFPN


@pytest.mark.parametrize(('size', 'finest'), [((8, 8), (32, 32)), ((7, 10), (28, 40))])
def test_levels_are_four_times_to_a_quarter_of_the_map(size, finest):
    neck = SimpleFPN(16, 12, num_outs=5)
    levels = neck([torch.randn(2, 16, *size)])
    sides = [finest, (2 * size[0], 2 * size[1]), size, (size[0] // 2, size[1] // 2)]
    sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    assert [level.shape for level in levels] == [(2, 12, *side) for side in sides]


def test_every_level_reads_the_last_map_alone():
    neck = SimpleFPN(16, 12)
    maps = [torch.randn(1, 16, 8, 8).requires_grad_() for _ in range(2)]
    sum(level.square().sum() for level in neck(maps)).backward()
    assert maps[0].grad is None
    assert all(parameter.grad.abs().sum() > 0 for parameter in neck.parameters())


def test_a_level_is_normalised_over_channels_and_stays_in_place():
    torch.manual_seed(0)
    neck = SimpleFPN(16, 12).eval()
    x = torch.zeros(1, 16, 8, 8)
    other = x.clone()
    other[:, :, 6:, 6:] = torch.randn(1, 16, 2, 2)
    with torch.no_grad():
        for level, changed in zip(neck([x])[:3], neck([other])[:3]):
            n = level.shape[-1] // 8
            # A change in the corner reaches one pixel of each level further, by the 3 x 3 convolution.
            assert torch.equal(level[..., : 6 * n - 1, :], changed[..., : 6 * n - 1, :])
            assert not torch.equal(level[..., 6 * n :, 6 * n :], changed[..., 6 * n :, 6 * n :])
        torch.testing.assert_close(neck([other])[2].mean(1), torch.zeros(1, 8, 8), atol=1e-5, rtol=0)


def test_fewer_levels_than_it_makes_are_refused():
    with pytest.raises(ValueError, match='num_outs=3 must be at least 4'):
        SimpleFPN(16, num_outs=3)
