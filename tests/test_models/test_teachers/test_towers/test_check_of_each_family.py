"""`EmbeddingCheck` passes extractors of each family of image towers, and finds steps that one leaves out."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from block_extractors import READ_BLOCKS
from lfi.models.teachers.embedding_check import EmbeddingCheck
from lfi.models.teachers.extractors import (
    LocationsExtractor,
    dense,
)
from lfi.models.teachers.towers import (
    AttentionPooledResNet,
    OpenClipViT,
    TimmCNN,
    TimmViT,
    open_clip_vit,
    timm_vit,
)
from small_towers import FAMILIES, TRANSFORMERS, small_tower, unit_texts

KINDS = {'dense': LocationsExtractor, **READ_BLOCKS}
# MaskCLIP lets nothing attend in the last block.
ATTENDING = [name for name in READ_BLOCKS if name != 'maskclip']


def check_of(name):
    """The check of a model whose image tower is of a family, the tower, and texts."""
    visual = small_tower(name)
    vlm = SimpleNamespace(visual=visual, parameters=visual.parameters, encode_image=visual)
    return EmbeddingCheck(vlm), visual, unit_texts(visual)


@pytest.mark.parametrize('name', FAMILIES)
def test_an_extractor_that_reads_the_tower_right_passes(name):
    check, visual, texts = check_of(name)
    fits = KINDS if name in TRANSFORMERS else {'dense': LocationsExtractor}
    for kind in fits.values():
        extractor = kind(visual)
        check(extractor, texts, name)
        assert check.distance(extractor, texts) < 1e-5
        assert check.location_distance(extractor, texts) < 1e-5


def refused(name, kinds, message):
    check, visual, texts = check_of(name)
    for kind in kinds:
        with pytest.raises(ValueError, match=f'misreads the model {name}: its {message}'):
            check(KINDS[kind](visual), texts, name)


class Swapped:
    """A method without one of its steps: that module gives its input back."""

    def __init__(self, of, method, path, instead=lambda x: x):
        self.of, self.method, self.path, self.instead = of, method, path, instead

    def apply(self, monkeypatch):
        own = getattr(self.of, self.method)

        def without(this, *args):
            root = getattr(this, 'block', None) or this.visual
            *parents, last = self.path.split('.')
            parent = root
            for part in parents:
                parent = getattr(parent, part)
            step = parent._modules.get(last, parent.__dict__.get(last))
            parent._modules[last] = self.instead
            try:
                return own(this, *args)
            finally:
                parent._modules[last] = step

        monkeypatch.setattr(self.of, self.method, without)


LOCATIONS = 'locations miss a step'
EMBEDDING = 'embedding of a random image is'


@pytest.mark.parametrize(
    ('name', 'of', 'path'),
    [
        ('open_clip', OpenClipViT, 'ln_post'),
        ('open_clip_average', OpenClipViT, 'ln_post'),
        ('siglip', TimmViT, 'trunk.norm'),
        ('siglip', TimmViT, 'trunk.attn_pool.proj'),
        ('siglip', TimmViT, 'trunk.attn_pool.norm'),
        ('pe_core', TimmViT, 'trunk.norm'),
        ('pe_core', TimmViT, 'trunk.attn_pool.proj'),
        ('eva02_average', TimmViT, 'trunk.fc_norm'),
        ('vitamin', TimmViT, 'trunk.fc_norm'),
        ('mobileclip_b', TimmViT, 'trunk.norm'),
    ],
)
def test_locations_without_a_step_of_the_pool_or_head_are_found(monkeypatch, name, of, path):
    Swapped(of, 'project', path).apply(monkeypatch)
    # Where the embedding is made of projected locations, it tells too.
    refused(name, KINDS, f'({LOCATIONS}|{EMBEDDING})')


@pytest.mark.parametrize('name', ['siglip', 'siglip_registers', 'pe_core', 'pe_core_no_class_token'])
def test_locations_without_the_pools_feed_forward_network_are_found(monkeypatch, name):
    own = timm_vit._pool_single_tokens
    monkeypatch.setattr(
        timm_vit,
        '_pool_single_tokens',
        lambda pool, x: own(SimpleNamespace(kv=pool.kv, proj=pool.proj, norm=pool.norm, mlp=None), x),
    )
    refused(name, KINDS, LOCATIONS)


@pytest.mark.parametrize('name', ['pe_core', 'pe_core_no_class_token', 'eva02', 'eva02_average', 'dinov3'])
def test_queries_and_keys_without_rotary_positions_are_found(monkeypatch, name):
    monkeypatch.setattr(timm_vit.EvaBlockParts, 'qkv', timm_vit.TimmBlock.qkv)
    refused(name, ATTENDING, EMBEDDING)


@pytest.mark.parametrize(
    ('name', 'of', 'method', 'path'),
    [
        ('eva_post_norm', timm_vit.PostNormEvaBlock, 'output', 'norm1'),
        ('eva_post_norm', timm_vit.PostNormEvaBlock, 'feed_forward', 'norm2'),
        ('eva02', timm_vit.EvaBlockParts, 'output', 'attn.norm'),
        ('eva02', timm_vit.EvaBlockParts, 'feed_forward', 'norm2'),
        ('registers', timm_vit.TimmBlock, 'output', 'ls1'),
        ('registers', timm_vit.TimmBlock, 'qkv', 'attn.k_norm'),
        ('registers', timm_vit.TimmBlock, 'normed', 'norm1'),
        ('mobileclip_b', timm_vit.TimmBlock, 'feed_forward', 'norm2'),
        ('open_clip_layer_scale', open_clip_vit.OpenClipBlock, 'output', 'ls_1'),
        ('open_clip_layer_scale', open_clip_vit.OpenClipBlock, 'feed_forward', 'ls_2'),
    ],
)
def test_blocks_without_a_step_are_found(monkeypatch, name, of, method, path):
    Swapped(of, method, path).apply(monkeypatch)
    refused(name, ATTENDING, EMBEDDING)


@pytest.mark.parametrize('name', ['eva02', 'dinov3', 'eva02_average'])
def test_attention_without_its_layer_scale_is_found(monkeypatch, name):
    monkeypatch.setattr(timm_vit.EvaBlockParts, 'output', timm_vit.TimmBlock._project_output)
    refused(name, ATTENDING, EMBEDDING)


def normalised(tower, images):
    """As `features_of_locations`, but that it forgets that the locations are averaged."""
    locations, grid, pooled = tower.locations(images)
    locations = F.normalize(tower.project(locations), dim=-1)
    return locations.mT.unflatten(-1, grid)[:, None], pooled


@pytest.mark.parametrize('name', [name for name in FAMILIES if FAMILIES[name].averages])
def test_maps_whose_mean_is_not_the_images_cosine_are_found(monkeypatch, name):
    monkeypatch.setattr(dense, 'features_of_locations', normalised)
    refused(name, ['dense'], LOCATIONS)


def test_a_pool_without_positions_is_found(monkeypatch):
    monkeypatch.setattr(AttentionPooledResNet, '_positions_of', lambda self, grid: torch.zeros(17, 256))
    refused('resnet', ['dense', 'maskclip'], EMBEDDING)


def test_locations_of_a_resnet_that_miss_the_output_projection_are_found(monkeypatch):
    monkeypatch.setattr(
        AttentionPooledResNet, 'project', lambda self, x: self.visual.attnpool.v_proj(x)[..., :24]
    )
    refused('resnet', ['dense', 'maskclip'], LOCATIONS)


@pytest.mark.parametrize('name', ['convnext', 'convnext_mlp', 'fastvit'])
def test_locations_of_a_cnn_that_miss_the_head_are_found(monkeypatch, name):
    monkeypatch.setattr(TimmCNN, 'project', lambda self, x: x[..., :24])
    refused(name, ['dense'], f'({LOCATIONS}|{EMBEDDING})')
