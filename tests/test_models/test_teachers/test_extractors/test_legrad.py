"""LeGrad against its published formula: the gradient with respect to the attention itself."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import LeGradExtractor
from slow_vit import (
    attention,
    feed_forward,
    gather,
    norm,
    project,
    projections,
    random,
    run,
    scale,
    tokens_before,
    unit_texts,
)


def relevance(visual, block, x, texts, quick):
    """Mean over heads and queries of the positive part of d score / d attention, (B, C, N)."""
    q, k, v = projections(block, x)
    maps = []
    for text in texts:
        weights = [w.detach().requires_grad_() for w in attention(block, q, k)]
        tokens = feed_forward(block, x + scale(block.ls_1, project(block, gather(weights, v))), quick)
        embedding = F.normalize(norm(visual.ln_post, tokens.mean(1)) @ visual.proj, dim=-1)
        gradients = torch.autograd.grad((embedding @ text).sum(), weights)
        maps.append(torch.stack(gradients).clamp(min=0).mean((0, 2))[:, 1:])
    return torch.stack(maps, 1)


@pytest.mark.parametrize('tower', ['vit', 'vit_layer_scale'])
def test_the_mean_over_the_blocks_is_the_published_map(load_tower, tower):
    visual, quick = load_tower(tower), tower == 'vit_layer_scale'
    images, texts = random(2, 3, 32, 32), unit_texts()
    with torch.no_grad():
        maps, pooled = LeGradExtractor(visual)(images, texts)
    x, blocks = tokens_before(visual, images, quick, 2)
    layers = []
    for block in blocks:
        layers.append(relevance(visual, block, x, texts, quick))
        x = run(block, x, quick)
    layers = torch.stack(layers, 1)  # [B, L, C, N]
    total = layers.sum(1)
    low, high = total.amin(-1, keepdim=True), total.amax(-1, keepdim=True)
    published = ((total - low) / (high - low)).unflatten(-1, (4, 4))
    torch.testing.assert_close(maps.mean(1), published, rtol=1e-3, atol=1e-4)
    # Each block's map is its relevance, shifted and scaled as the others of its concept.
    expected = (layers - low[:, None] / 2) / (high - low)[:, None] * 2
    torch.testing.assert_close(maps.flatten(-2), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(pooled, F.normalize(visual(images), dim=-1), rtol=1e-4, atol=1e-5)


def test_it_reads_under_no_grad_and_leaves_no_gradient(load_tower):
    visual = load_tower('vit').requires_grad_(True)
    with torch.no_grad():
        maps, pooled = LeGradExtractor(visual, depth=3)(random(1, 3, 32, 32), unit_texts())
        assert not torch.is_grad_enabled()
    assert maps.shape == (1, 3, 5, 4, 4)
    assert not maps.requires_grad and not pooled.requires_grad
    assert all(parameter.grad is None for parameter in visual.parameters())


def test_it_speaks_of_positions_only(load_tower):
    assert LeGradExtractor(load_tower('vit')).directions == ('spatial',)


def test_depth_must_fit_the_tower(load_tower):
    with pytest.raises(ValueError, match="depth=4 must be from 1 to the teacher's 3 blocks"):
        LeGradExtractor(load_tower('vit'), depth=4)
