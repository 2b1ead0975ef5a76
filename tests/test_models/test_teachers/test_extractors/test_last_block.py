"""The extractors that change the last block, against their published formulas written out."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import ClearCLIPExtractor, MaskCLIPExtractor, NACLIPExtractor
from slow_vit import (
    attend,
    cosines,
    feed_forward,
    project,
    projections,
    random,
    scale,
    tokens_before,
    unit_texts,
)


def maskclip_patches(block, x, quick):
    """Attention := identity: the value path, with residual and feed-forward."""
    _, _, v = projections(block, x)
    return feed_forward(block, x + scale(block.ls_1, project(block, v)), quick)[:, 1:]


def clearclip_patches(block, x, quick):
    """softmax(q q^T / sqrt(d)) v, no residual, no feed-forward."""
    q, _, v = projections(block, x)
    return scale(block.ls_1, project(block, attend(block, q, q, v)))[:, 1:]


def naclip_patches(block, x, quick):
    """softmax(k k^T / sqrt(d) + Gaussian of the patches' distance) v, no residual, no feed-forward."""
    _, k, v = projections(block, x)
    bias = torch.zeros(17, 17)
    for i in range(16):
        for j in range(16):
            squared_distance = (i // 4 - j // 4) ** 2 + (i % 4 - j % 4) ** 2
            bias[1 + i, 1 + j] = torch.exp(torch.tensor(-squared_distance / (2 * 5**2)))
    return scale(block.ls_1, project(block, attend(block, k, k, v, bias)))[:, 1:]


@pytest.mark.parametrize('tower', ['vit', 'vit_layer_scale'])
@pytest.mark.parametrize(
    ('extractor', 'formula'),
    [
        (MaskCLIPExtractor, maskclip_patches),
        (ClearCLIPExtractor, clearclip_patches),
        (NACLIPExtractor, naclip_patches),
    ],
    ids=['maskclip', 'clearclip', 'naclip'],
)
@torch.no_grad()
def test_maps_of_a_vit_equal_the_published_formula(load_tower, tower, extractor, formula):
    visual, quick = load_tower(tower), tower == 'vit_layer_scale'
    images, texts = random(2, 3, 32, 32), unit_texts()
    maps, pooled = extractor(visual)(images, texts)
    x, (block,) = tokens_before(visual, images, quick, 1)
    expected = cosines(visual, formula(block, x, quick), texts)[:, None]
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pooled, F.normalize(visual(images), dim=-1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_ways_to_change_the_last_block_differ(load_tower):
    visual, images = load_tower('vit'), random(2, 3, 32, 32)
    maps = [
        e(visual)(images, unit_texts())[0] for e in (MaskCLIPExtractor, ClearCLIPExtractor, NACLIPExtractor)
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (maps[first] - maps[second]).abs().max() > 1e-2
