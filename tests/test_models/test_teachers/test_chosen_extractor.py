"""Which extractor a config asks for: by name, by config, or by the model's family."""

import json
import shutil

import pytest
import torch
from lfi.models.teachers import PixelFormat, VLMAttentionTeacher, teacher_identity
from lfi.models.teachers.chosen_extractor import chosen_extractor

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
    assert chosen_extractor('auto', model) == chosen_extractor(dict(type='auto'), model) == dict(type=name)


def test_a_name_alone_is_a_config_without_options():
    assert chosen_extractor('gem', 'nothing') == dict(type='gem')
    own = dict(type='gem', depth=3)
    assert chosen_extractor(own, 'nothing') is own


@pytest.mark.parametrize(
    ('extractor', 'model', 'message'),
    [
        (dict(type='auto', depth=2), 'ViT-B-16', r"'auto' takes no options, got \['depth'\]: name the"),
        ('auto', None, "'auto' needs a teacher with a model"),
        ('auto', 'ViT-B-17', "model='ViT-B-17' is neither a folder nor a model"),
    ],
)
def test_what_auto_cannot_resolve_is_refused(extractor, model, message):
    with pytest.raises(ValueError, match=message):
        chosen_extractor(extractor, model)


def test_a_model_that_no_extractor_fits_is_refused_by_name(teacher_folder, tmp_path):
    shutil.copytree(teacher_folder('vit'), tmp_path / 'vit')
    file = tmp_path / 'vit/open_clip_config.json'
    config = json.loads(file.read_text())
    config['model_cfg']['vision_cfg']['qk_norm'] = True
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"'auto' finds none that fits model='.*vit' \(other ViT\)"):
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
