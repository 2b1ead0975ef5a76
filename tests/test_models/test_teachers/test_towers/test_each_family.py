"""Each family of image towers against the authors' own code, at their own size and at others."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import (
    ClearCLIPExtractor,
    GEMExtractor,
    LeGradExtractor,
    LocationsExtractor,
    MaskCLIPExtractor,
    NACLIPExtractor,
)
from lfi.models.teachers.towers import tower_of
from slow_tower import (
    block_calls,
    cosines_of_tokens,
    dense_of_cnn,
    gem_maps,
    last_block_maps,
    legrad_maps,
    n_prefix,
    run_block,
    softmax_of,
)
from small_towers import CNNS, FAMILIES, TRANSFORMERS, random_images, small_tower, unit_texts

LAST_BLOCK = {'maskclip': MaskCLIPExtractor, 'clearclip': ClearCLIPExtractor, 'naclip': NACLIPExtractor}
GRID = (4, 4)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('name', FAMILIES)
@torch.no_grad()
def test_a_tower_reads_images_as_its_authors_do(name):
    visual, images = small_tower(name), random_images(name)
    tower = tower_of(visual)
    locations, grid, pooled = tower.locations(images)
    assert (tower.pool, tower.averages) == (FAMILIES[name].pool, FAMILIES[name].averages)
    assert grid == GRID and locations.shape[:2] == (2, 16)
    own = visual(images)
    close(pooled, own)
    # What an image says is no rounding: neither to another image, nor from location to location.
    assert (own[0] - own[1]).abs().max() > 1e-2
    assert locations.std(1).max() > 1e-2
    close(tower.project(locations[0]), tower.pool_each(locations[0]))
    if tower.averages:
        close(tower.project(locations).mean(1), own)


@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_blocks_taken_apart_are_the_authors_blocks(name):
    visual, images = small_tower(name), random_images(name)
    tower = tower_of(visual)
    x, grid = tower.embed(images)
    calls = block_calls(visual, images)
    assert len(calls) == len(tower.blocks) == 3
    for i, (block, call) in enumerate(zip(tower.blocks, calls)):
        close(x, call[0][0])
        expected, added, read = run_block(visual, i, call)
        close(block.normed(x), read)
        q, k, v = block.qkv(read, grid)
        attended = torch.stack(
            [torch.stack([softmax_of(*qk) @ value for *qk, value in zip(*image)]) for image in zip(q, k, v)]
        )
        close(block.output(attended), added)
        close(block.feed_forward(x + added), expected)
        x = block(x, grid)
        close(x, expected)


@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_dense_maps_are_the_last_tokens_one_by_one(name):
    visual, images = small_tower(name), random_images(name)
    texts = unit_texts(visual)
    maps, pooled = LocationsExtractor(visual)(images, texts)
    calls = block_calls(visual, images)
    tokens = run_block(visual, 2, calls[2])[0][:, n_prefix(visual) :]
    expected = cosines_of_tokens(visual, tokens, texts).unflatten(-1, GRID)[:, None]
    close(pooled, F.normalize(visual(images), dim=-1))
    if FAMILIES[name].averages:
        lengths = maps / expected
        close(maps.mean((1, 3, 4)), pooled @ texts.T)
        close(lengths, lengths[:, :, :1].expand_as(lengths), 1e-3)
        assert (lengths > 0).all()
    else:
        close(maps, expected)


@pytest.mark.parametrize('name', CNNS)
@torch.no_grad()
def test_maps_of_a_cnn_are_its_locations_one_by_one(name):
    visual, images = small_tower(name), random_images(name)
    texts = unit_texts(visual)
    expected = dense_of_cnn(visual, images, texts, FAMILIES[name].averages)[:, None]
    kinds = [LocationsExtractor] + [MaskCLIPExtractor] * (FAMILIES[name].pool == 'attention')
    for kind in kinds:
        maps, pooled = kind(visual)(images, texts)
        close(maps, expected)
        close(pooled, F.normalize(visual(images), dim=-1))


@pytest.mark.parametrize('extractor', LAST_BLOCK)
@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_a_changed_last_block_is_the_authors_block_with_its_attention_replaced(name, extractor):
    visual, images = small_tower(name), random_images(name)
    texts = unit_texts(visual)
    maps, pooled = LAST_BLOCK[extractor](visual)(images, texts)
    if extractor == 'maskclip' and FAMILIES[name].pool == 'attention':
        # The attention that pools is the pool's own.
        expected, _ = LocationsExtractor(visual)(images, texts)
    else:
        expected = last_block_maps(extractor, visual, images, texts, GRID)
    close(maps, expected)
    close(pooled, F.normalize(visual(images), dim=-1))


@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_gem_goes_beside_the_authors_blocks(name):
    visual, images = small_tower(name), random_images(name)
    texts = unit_texts(visual)
    maps, pooled = GEMExtractor(visual, depth=2)(images, texts)
    close(maps, gem_maps(visual, images, texts, GRID, 2))
    close(pooled, F.normalize(visual(images), dim=-1))


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_legrad_is_the_gradient_through_the_authors_blocks(name):
    visual, images = small_tower(name).requires_grad_(False), random_images(name)
    texts = unit_texts(visual, 2)
    with torch.no_grad():
        maps, pooled = LeGradExtractor(visual, depth=2)(images, texts)
        own = visual(images)
    # Brought to [0, 1] by the extremes of small gradients, which multiplies the rounding.
    close(maps, legrad_maps(visual, images, texts, GRID, 2), 1e-4)
    close(pooled, F.normalize(own, dim=-1))
