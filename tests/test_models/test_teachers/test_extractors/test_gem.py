"""GEM against its published formula written out."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import GEMExtractor
from slow_vit import cosines, norm, project, projections, random, run, scale, tokens_before, unit_texts


def self_self(p, v, inverse_temperature):
    """One head's softmax(p p^T) iterated once over unit p, then applied to v; (B, N, head width)."""

    def weights(p):
        unit = p / p.norm(dim=-1, keepdim=True)
        return (unit @ unit.mT * inverse_temperature[:, None, None]).softmax(-1), unit

    attention, unit = weights(p)
    attention, _ = weights(attention @ unit)
    return attention @ v


def gem_maps(visual, images, texts, quick, depth):
    x, blocks = tokens_before(visual, images, quick, depth)
    path, maps = x, []
    for block in blocks:
        q, k, v = (p.chunk(block.attn.num_heads, -1) for p in projections(block, x))
        mean_length = norm(block.ln_1, x).norm(dim=-1).mean(1)  # [B]
        heads = []
        for h in range(block.attn.num_heads):
            inverse_temperature = mean_length / v[h].shape[-1] ** 0.5
            heads.append(sum(self_self(p[h], v[h], inverse_temperature) for p in (q, k, v)) / 3)
        path = path + scale(block.ls_1, project(block, torch.cat(heads, -1)))
        maps.append(cosines(visual, path[:, 1:], texts))
        x = run(block, x, quick)
    return torch.stack(maps, 1)


@pytest.mark.parametrize('tower', ['vit', 'vit_layer_scale'])
@pytest.mark.parametrize('depth', [1, 2])
@torch.no_grad()
def test_maps_equal_the_published_formula_after_each_block(load_tower, tower, depth):
    visual, quick = load_tower(tower), tower == 'vit_layer_scale'
    images, texts = random(2, 3, 32, 32), unit_texts()
    maps, pooled = GEMExtractor(visual, depth=depth)(images, texts)
    expected = gem_maps(visual, images, texts, quick, depth)
    assert maps.shape == (2, depth, 5, 4, 4)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pooled, F.normalize(visual(images), dim=-1), rtol=1e-4, atol=1e-5)


def test_depth_must_fit_the_tower(load_tower):
    visual = load_tower('vit')
    GEMExtractor(visual, depth=3)
    for depth in (0, 4):
        with pytest.raises(ValueError, match=f"depth={depth} must be from 1 to the teacher's 3 blocks"):
            GEMExtractor(visual, depth=depth)
    with pytest.raises(ValueError, match="depth=6 must be from 1 to the teacher's 3 blocks"):
        GEMExtractor(visual)
