"""Families: what fits a model, by its config alone."""

import copy
import json
import shutil

import open_clip
import pytest
import torch
from block_extractors import READ_BLOCKS
from lfi.models.teachers import VLMAttentionTeacher, teacher_identity
from lfi.models.teachers.families import family_of, resolve_extractor
from lfi.registry import EXTRACTORS
from lfi.structures import PixelFormat

TAGGED = sorted({model for model, _ in open_clip.list_pretrained()})
# By the authors' own names for their models.
EXPECTED = {
    'ViT-B-32': ('CLIP ViT', 'class token', 'clearclip'),
    'ViT-H-14-worldwide-378': ('CLIP ViT', 'class token', 'clearclip'),
    'nllb-clip-base': ('CLIP ViT', 'class token', 'clearclip'),
    'EVA01-g-14': ('EVA', 'class token', 'clearclip'),
    'EVA02-E-14-plus': ('EVA', 'class token', 'clearclip'),
    'MobileCLIP-B': ('MobileCLIP (ViT)', 'class token', 'clearclip'),
    'MobileCLIP2-L-14': ('MobileCLIP (ViT)', 'class token', 'clearclip'),
    'RN50': ('ResNet (attention pool)', 'attention', 'maskclip'),
    'ViT-B-16-SigLIP': ('SigLIP', 'attention', 'maskclip'),
    'ViT-SO400M-16-SigLIP-i18n-256': ('SigLIP', 'attention', 'maskclip'),
    'nllb-clip-large-siglip': ('SigLIP', 'attention', 'maskclip'),
    'ViT-gopt-16-SigLIP2-384': ('SigLIP 2', 'attention', 'maskclip'),
    'PE-Core-T-16-384': ('PE-Core', 'attention', 'maskclip'),
    'ViTamin-L2-336': ('ViTamin', 'mean', 'dense'),
    'ViT-L-14-CLIPA': ('CLIPA', 'mean', 'dense'),
    'MobileCLIP2-S4': ('MobileCLIP (FastViT)', 'mean', 'dense'),
    'convnext_large_d': ('ConvNeXt', 'mean', 'dense'),
    'coca_ViT-L-14': ('CoCa', 'attention', 'coca'),
}


def of(model, vision=(), **parts):
    config = copy.deepcopy(open_clip.get_model_config(model))
    config['vision_cfg'].update(vision)
    return family_of({**config, **parts})


@pytest.mark.parametrize('model', TAGGED)
def test_every_architecture_with_a_tag_is_of_a_known_family_and_can_be_read(model):
    family = family_of(open_clip.get_model_config(model))
    assert family.name in {name for name, _, _ in EXPECTED.values()}
    assert family.extractors and len(set(family.extractors)) == len(family.extractors)
    assert all(EXTRACTORS.get(name) for name in family.extractors)


@pytest.mark.parametrize('model', EXPECTED)
def test_a_family_its_pool_and_what_auto_takes(model):
    family = of(model)
    assert (family.name, family.pool, family.extractors[0]) == EXPECTED[model]


@pytest.mark.parametrize('model', ['MobileCLIP-S1', 'convnext_base', 'RN50'])
def test_what_has_no_blocks_fits_no_extractor_of_blocks(model):
    assert set(of(model).extractors) <= {'dense', 'maskclip'}


@pytest.mark.parametrize(
    ('trunk', 'first'), [('deit3_small_patch16_224', 'clearclip'), ('deit_tiny_distilled_patch16_224', None)]
)
def test_deit_is_read_and_one_with_two_heads_is_not(trunk, first):
    found = of('MobileCLIP-B', dict(timm_model_name=trunk, timm_pool='token'))
    assert next(iter(found.extractors), None) == first


def test_a_transformer_fits_all_that_read_blocks_whatever_its_pool():
    for model in ('ViT-B-32', 'PE-Core-B-16', 'ViTamin-S', 'ViT-L-14-CLIPA'):
        assert {*of(model).extractors} >= {*READ_BLOCKS, 'dense'}


@pytest.mark.parametrize(
    ('model', 'vision', 'name', 'extractors'),
    [
        # Blocks or pools that no tower reads.
        ('ViT-B-32', dict(qk_norm=True), 'other ViT', 0),
        ('ViT-B-32', dict(block_type='custom'), 'other ViT', 0),
        ('ViT-B-32', dict(pool_type='none'), 'other ViT', 0),
        ('ViT-B-32', dict(attentional_pool=True), 'other ViT', 0),
        ('coca_ViT-B-32', dict(attentional_pool='parallel'), 'CoCa', 0),
        ('convnext_base', dict(timm_pool='abs_attn', timm_proj=None), 'ConvNeXt', 0),
        ('convnext_base', dict(timm_pool='', timm_proj=None), 'ConvNeXt', 0),
        ('convnext_base', dict(timm_model_name='beit_base_patch16_224'), 'other', 0),
        ('ViTamin-S', dict(timm_pool='', timm_proj=None), 'ViTamin', 0),
        # Others that can be read.
        ('convnext_base', dict(timm_model_name='efficientnet_lite0'), 'other CNN', 1),
        ('convnext_base', dict(timm_model_name='resnet50', timm_pool='avg', timm_proj=None), 'other CNN', 1),
        ('convnext_base', dict(timm_model_name='vit_base_patch16_224', timm_pool='avg'), 'other ViT', 2),
    ],
)
def test_another_config_of_a_known_kind(model, vision, name, extractors):
    family = of(model, vision)
    # Those of a transformer are as many as the registry has.
    assert (family.name, min(len(family.extractors), 2)) == (name, extractors)


@pytest.mark.parametrize(
    ('trunk', 'pool'),
    [
        ('vit_base_patch16_siglip_224', 'attention'),
        ('vit_base_patch16_siglip_gap_224', 'mean'),
        ('vit_pe_core_tiny_patch16_384', 'attention'),
        ('eva02_tiny_patch14_224', 'mean'),
        ('eva02_base_patch16_clip_224', 'class token'),
        ('vit_tiny_patch16_224', 'class token'),
        ('vitamin_small_224', 'mean'),
    ],
)
def test_the_pool_that_timm_gives_its_transformer(trunk, pool):
    import timm
    import torch

    vision = dict(timm_model_name=trunk, timm_pool='', timm_proj='linear')
    family = of('convnext_base', vision)
    with torch.device('meta'):
        named = timm.create_model(trunk, depth=1).global_pool
    assert {'map': 'attention', 'avg': 'mean', 'token': 'class token'}[named] == family.pool == pool


def test_a_trunk_that_timm_does_not_know_is_refused():
    with pytest.raises(ValueError, match="timm_model_name='convnext_gigantic' is not a model of timm"):
        of('convnext_base', dict(timm_model_name='convnext_gigantic'))


PIXELS = PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=True)


@pytest.mark.parametrize(
    ('model', 'name'),
    [
        ('ViT-B-16-quickgelu', 'clearclip'),
        ('ViT-B-16-SigLIP', 'maskclip'),
        ('convnext_base', 'dense'),
        ('coca_ViT-B-32', 'coca'),
        ('shapes-tiny', 'dense'),
        ('mmpretrain:blip-base_3rdparty_retrieval', 'blip'),
        ('transformers:owner/name', 'generative'),
        (dict(type='mine.DualEncoder'), 'own-locations'),
    ],
)
def test_auto_is_the_extractor_of_the_models_family(model, name):
    assert resolve_extractor('auto', model) == resolve_extractor(dict(type='auto'), model) == dict(type=name)


def test_a_name_alone_is_a_config_without_options():
    assert resolve_extractor('gem', 'nothing') == dict(type='gem')
    own = dict(type='gem', depth=3)
    assert resolve_extractor(own, 'nothing') is own


@pytest.mark.parametrize(
    ('extractor', 'model', 'message'),
    [
        (dict(type='auto', depth=2), 'ViT-B-16', r"'auto' takes no options, got \['depth'\]: name an"),
        ('auto', None, "'auto' needs a teacher with a model"),
        ('auto', 'ViT-B-17', "model='ViT-B-17' is neither a folder nor a model"),
    ],
)
def test_what_auto_cannot_resolve_is_refused(extractor, model, message):
    with pytest.raises(ValueError, match=message):
        resolve_extractor(extractor, model)


def test_a_model_that_no_extractor_fits_is_refused_by_name(teacher_folder, tmp_path):
    shutil.copytree(teacher_folder('vit'), tmp_path / 'vit')
    file = tmp_path / 'vit/open_clip_config.json'
    config = json.loads(file.read_text())
    config['model_cfg']['vision_cfg']['qk_norm'] = True
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"'auto' finds no match for model='.*vit' \(other ViT\)"):
        VLMAttentionTeacher(str(tmp_path / 'vit'), concepts=['a'])
    file.write_text(json.dumps(dict(model_cfg=dict(embed_dim=3))))
    with pytest.raises(ValueError, match='is not a config of an open_clip model'):
        VLMAttentionTeacher(str(tmp_path / 'vit'), concepts=['a'])


@pytest.mark.parametrize(
    ('folder', 'name'),
    [
        ('vit', 'clearclip'),
        ('coca', 'coca'),
        ('cnn_test_resnet', 'dense'),
        ('cnn_own_head', 'dense'),
        ('cnn_test_vit', 'dense'),
    ],
)
@torch.no_grad()
def test_a_teacher_without_an_extractor_is_that_of_the_one_it_names(teacher_folder, folder, name):
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model, concepts = teacher_folder(folder), ['ring', 'star']
    maps = VLMAttentionTeacher(model, concepts=concepts)(images, PIXELS)
    for extractor in (name, dict(type=name)):
        named = VLMAttentionTeacher(model, extractor=extractor, concepts=concepts)(images, PIXELS)
        assert torch.equal(maps.logits, named.logits) and torch.equal(maps.presence, named.presence)


def test_auto_and_the_extractor_that_it_takes_have_one_identity(teacher_folder):
    def identity(**extractor):
        return teacher_identity(dict(model=teacher_folder('vit'), concepts=['a'], **extractor))

    named = identity(extractor=dict(type='clearclip'))
    assert named['extractor'] == {'type': 'clearclip'}
    for extractor in ('auto', dict(type='auto'), 'clearclip'):
        assert identity(extractor=extractor) == named
    assert identity() == named
    assert identity(extractor='maskclip') != named


def test_the_identity_of_a_config_that_names_its_extractor_is_what_it_was():
    config = dict(model='ViT-B-16-quickgelu', pretrained='openai', extractor=dict(type='clearclip'))
    assert teacher_identity({**config, 'concepts': ['a']}) == dict(
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        extractor=dict(type='clearclip'),
        concepts=['a'],
        background=[],
        templates=['a photo of a {}.'],
        max_concepts=None,
        input_size=None,
        weights=None,
    )


def test_auto_stays_where_the_models_folder_is_not_at_hand():
    assert teacher_identity(dict(model='/nowhere/vit', concepts=['a']))['extractor'] == {'type': 'auto'}
