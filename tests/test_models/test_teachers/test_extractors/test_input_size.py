"""Images of other sizes than the tower's own."""

import pytest
import torch
from lfi.models.teachers.extractors import MaskCLIPExtractor
from lfi.models.teachers.towers import TokenEmbedding, base
from lfi.models.teachers.towers.base import ResampledPositions
from slow_vit import forget_positions, random, unit_texts


@torch.no_grad()
def test_the_native_size_is_embedded_bit_for_bit_as_the_tower_does(load_tower):
    visual, images = load_tower('vit'), random(2, 3, 32, 32)
    tokens, grid = TokenEmbedding(visual)(images)
    assert grid == (4, 4)
    assert torch.equal(tokens, visual._embeds(images))


@pytest.mark.parametrize('size', [(64, 64), (64, 48), (24, 40)])
@torch.no_grad()
def test_another_size_gives_the_maps_of_a_tower_made_for_it(make_extractor, size):
    extractor, _ = make_extractor(forget_positions)
    images, texts = random(2, 3, *size), unit_texts()
    maps, pooled = extractor(images, texts)
    grid = (size[0] // 8, size[1] // 8)
    assert maps.shape[-2:] == grid

    def enlarge(visual):
        forget_positions(visual)
        own = visual.positional_embedding
        patches = own[1:2].expand(grid[0] * grid[1], -1)
        visual.positional_embedding = torch.nn.Parameter(torch.cat((own[:1], patches)))
        visual.grid_size = grid

    expected_maps, expected_pooled = make_extractor(enlarge)[0](images, texts)
    torch.testing.assert_close(maps, expected_maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pooled, expected_pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_position_embeddings_are_resampled_over_the_grid(load_tower):
    visual = load_tower('vit')
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing='ij')
    own = visual.positional_embedding
    own[1:] = 0
    own[1:, 0], own[1:, 1] = y.flatten(), x.flatten()
    resampled = ResampledPositions()(own[None], (4, 4), (16, 8))[0]
    assert torch.equal(resampled[0], own[0])
    ramps = resampled[1:].unflatten(0, (16, 8))[6:-6, 3:-3]  # away from the rim
    expected_y, expected_x = (torch.arange(16) + 0.5) / 4 - 0.5, (torch.arange(8) + 0.5) / 2 - 0.5
    torch.testing.assert_close(ramps[..., 0], expected_y[6:-6, None].expand(-1, 2), rtol=0, atol=1e-4)
    torch.testing.assert_close(ramps[..., 1], expected_x[3:-3].expand(4, -1), rtol=0, atol=1e-4)


@torch.no_grad()
def test_they_are_resampled_once_a_size(load_tower, monkeypatch):
    sizes, resample = [], base.resample_abs_pos_embed
    monkeypatch.setattr(
        base, 'resample_abs_pos_embed', lambda *a, **k: sizes.append(a[1]) or resample(*a, **k)
    )
    extractor = MaskCLIPExtractor(load_tower('vit'))
    for size in ((32, 32), (64, 48), (48, 64), (64, 48), (32, 32), (48, 64)):
        extractor(torch.zeros(1, 3, *size), unit_texts())
    assert sizes == [[8, 6], [6, 8]]
