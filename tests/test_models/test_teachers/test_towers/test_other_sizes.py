"""Images of other sizes than a tower's own, against a tower that is made for them."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import GEMExtractor, LocationsExtractor
from lfi.models.teachers.towers import tower_of
from open_clip.modified_resnet import ModifiedResNet
from slow_tower import dense_of_cnn
from small_towers import CNNS, FAMILIES, TRANSFORMERS, random_images, small_tower, unit_texts
from torch import nn

GRIDS = [(6, 8), (8, 2)]


def resized(name, grid):
    """A tower of a family that is made for a grid, its absolute positions interpolated from 4 x 4."""
    step = FAMILIES[name].step
    visual = small_tower(name, (grid[0] * step, grid[1] * step))
    own = small_tower(name)
    for (key, tensor), (_, small) in zip(visual.named_parameters(), own.named_parameters()):
        if key.endswith(('pos_embed', 'positional_embedding')):
            small = interpolated(small, tensor.shape[-2] - grid[0] * grid[1], grid)
        tensor.data.copy_(small)
    return visual


def interpolated(positions, n_prefix, grid):
    prefix, patches = positions.flatten(0, -2).split([n_prefix, 16])
    patches = F.interpolate(
        patches.T.unflatten(-1, (4, 4))[None], grid, mode='bicubic', antialias=True, align_corners=False
    )
    return torch.cat((prefix, patches[0].flatten(1).T)).view(*positions.shape[:-2], -1, positions.shape[-1])


def images_of(name, grid):
    step = FAMILIES[name].step
    return random_images(name, size=(grid[0] * step, grid[1] * step))


@pytest.mark.parametrize(
    'kind', [LocationsExtractor, lambda v: GEMExtractor(v, depth=2)], ids=['dense', 'gem']
)
@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_another_size_gives_the_maps_of_a_tower_made_for_it(name, kind):
    visual = small_tower(name)
    texts, extractor = unit_texts(visual), kind(visual)
    for grid in (*GRIDS, GRIDS[0]):
        images = images_of(name, grid)
        made = resized(name, grid)
        maps, pooled = extractor(images, texts)
        expected, _ = kind(made)(images, texts)
        assert maps.shape[-2:] == grid
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(pooled, F.normalize(made(images), dim=-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', TRANSFORMERS)
@torch.no_grad()
def test_the_own_size_stays_as_it_is_after_another(name):
    visual, images = small_tower(name), random_images(name)
    own = visual(images)
    tower = tower_of(visual)
    tower.locations(images_of(name, (6, 8)))
    torch.testing.assert_close(tower.locations(images)[2], own, rtol=0, atol=1e-5)
    torch.testing.assert_close(visual(images), own, rtol=0, atol=0)


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_a_size_that_cuts_patches_is_refused(name):
    step = FAMILIES[name].step
    size = (4 * step, 4 * step + step // 2)
    message = rf'input_size=\({size[0]}, {size[1]}\) must be a multiple .* size \({step}, {step}\)'
    with pytest.raises(ValueError, match=message):
        tower_of(small_tower(name)).locations(torch.zeros(1, 3, *size))


@pytest.mark.parametrize('name', CNNS)
@torch.no_grad()
def test_a_cnn_reads_any_size(name):
    visual, images = small_tower(name), random_images(name, size=(96, 160))
    texts = unit_texts(visual)
    maps, pooled = LocationsExtractor(visual)(images, texts)
    assert maps.shape == (2, 1, 5, 3, 5)
    if isinstance(visual, ModifiedResNet):
        own = visual.attnpool.positional_embedding
        visual.attnpool.positional_embedding = nn.Parameter(interpolated(own, 1, (3, 5)))
    torch.testing.assert_close(pooled, F.normalize(visual(images), dim=-1), rtol=0, atol=1e-5)
    expected = dense_of_cnn(visual, images, texts, FAMILIES[name].averages)[:, None]
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_own_size_that_patches_do_not_fill_is_read_as_the_trunk_reads_it():
    visual = small_tower('siglip', (36, 38))
    images = random_images('siglip', size=(36, 38))
    own = visual(images)
    locations, grid, embedding = tower_of(visual).locations(images)
    assert grid == (4, 4) and locations.shape[1] == 16
    torch.testing.assert_close(embedding, own, rtol=0, atol=1e-6)
    # An image that is given this size is read to its edges.
    assert tower_of(visual).whole_size((36, 38)) == (32, 32)
    assert tower_of(visual).whole_size((40, 32)) == (40, 32)
    with pytest.raises(ValueError, match=r'input_size=\(40, 38\) must be a multiple'):
        tower_of(visual).locations(torch.zeros(1, 3, 40, 38))


@pytest.mark.parametrize('name', CNNS)
@pytest.mark.parametrize('more', [(1, 0), (0, 4)])
@torch.no_grad()
def test_a_size_that_a_cnns_locations_do_not_cover_is_refused(name, more):
    step = FAMILIES[name].step
    images = random_images(name, size=(4 * step + more[0], 4 * step + more[1]))
    with pytest.raises(
        ValueError, match=rf'not a multiple of {step}, the stride .* Set teacher.input_size=\(\d+, \d+\)'
    ):
        tower_of(small_tower(name)).locations(images)
