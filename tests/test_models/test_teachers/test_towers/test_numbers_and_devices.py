"""Batches, devices, precisions and folded batch norms, for each family of image towers."""

import copy

import pytest
import torch
from block_extractors import READ_BLOCKS
from lfi.models.teachers.batch_norms import fold_batch_norms
from lfi.models.teachers.extractors import (
    LocationsExtractor,
)
from lfi.models.teachers.towers import tower_of
from small_towers import CNNS, FAMILIES, TRANSFORMERS, random_images, small_tower, unit_texts
from torch import nn

KINDS = {'dense': LocationsExtractor, **READ_BLOCKS}
READERS = [
    *((kind, name) for name in TRANSFORMERS for kind in KINDS),
    *(('dense', name) for name in CNNS),
    ('maskclip', 'resnet'),
]


@pytest.fixture
def read(kind, name):
    """The extractor, images and texts."""
    visual = small_tower(name)
    return KINDS[kind](visual), random_images(name, 3), unit_texts(visual)


@pytest.mark.parametrize(('kind', 'name'), READERS)
@torch.no_grad()
def test_an_image_is_read_as_if_it_were_alone(read):
    extractor, images, texts = read
    maps, pooled = extractor(images, texts)
    alone = [extractor(image[None], texts) for image in images]
    tolerance = 1e-5 if extractor.gives_cosines else 1e-4
    torch.testing.assert_close(maps, torch.cat([each[0] for each in alone]), rtol=0, atol=tolerance)
    torch.testing.assert_close(pooled, torch.cat([each[1] for each in alone]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('kind', 'name'), [*(('gem', name) for name in TRANSFORMERS), *(('dense', name) for name in CNNS)]
)
@torch.no_grad()
def test_all_that_is_read_moves_to_a_device(read, name):
    extractor, images, texts = read
    extractor(images, texts)
    meta, step = torch.device('meta'), FAMILIES[name].step
    extractor.to(meta)
    for grid in ((4, 4), (3, 5)):
        size = (grid[0] * step, grid[1] * step)
        maps, pooled = extractor(images.new_zeros(2, 3, *size, device=meta), texts.to(meta))
        assert maps.shape[-2:] == grid
        assert maps.device == pooled.device == meta


@pytest.mark.parametrize(('kind', 'name'), READERS)
@torch.no_grad()
def test_autocast_changes_little(read):
    extractor, images, texts = read
    expected, own = extractor(images, texts)
    with torch.autocast('cpu', torch.bfloat16):
        maps, pooled = extractor(images, texts)
    assert_near(maps, expected)
    assert_near(pooled, own)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(('kind', 'name'), [('dense', name) for name in FAMILIES] + [('gem', 'eva02')])
@torch.no_grad()
def test_half_precision_changes_little(kind, name, read, dtype):
    extractor, images, texts = read
    expected, own = extractor(images, texts)
    visual = small_tower(name).to(dtype)
    maps, pooled = KINDS[kind](visual)(images.to(dtype), texts.to(dtype))
    assert_near(maps.float(), expected)
    assert_near(pooled.float(), own)


def assert_near(found, expected):
    """Off by a small part of what the maps vary."""
    spread = expected.std()
    assert (found - expected).square().mean().sqrt() < 0.1 * spread


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', FAMILIES)
def test_half_precision_reads_the_same_pool(name, dtype):
    tower = tower_of(small_tower(name).to(dtype))
    assert (tower.pool, tower.averages) == (FAMILIES[name].pool, FAMILIES[name].averages)


@pytest.mark.parametrize('name', [*CNNS, 'mobileclip_b'])
@torch.no_grad()
def test_folded_batch_norms_leave_what_is_read_as_it_is(name):
    visual, images = small_tower(name), random_images(name)
    texts, folded = unit_texts(visual), copy.deepcopy(visual)
    n_norms = sum(isinstance(module, nn.BatchNorm2d) for module in visual.modules())
    assert fold_batch_norms(folded) >= 0.5 * n_norms
    before, after = (LocationsExtractor(each)(images, texts) for each in (visual, folded))
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(folded(images), visual(images), rtol=0, atol=1e-5)
