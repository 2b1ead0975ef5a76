"""The width of a teacher's text space, by its model's config alone."""

import json

import pytest
from lfi.models.teachers import VLMAttentionTeacher, text_dims_of
from lfi.registry import TEACHERS, VLMS


@TEACHERS.register_module(force=True)
class WideTeacher:
    text_dims = 40

    def __init__(self, depth=3):
        pass


@TEACHERS.register_module(force=True)
class NarrowTeacher(VLMAttentionTeacher):
    pass


@VLMS.register_module(force=True)
class SilentEncoder:
    pass


@VLMS.register_module(force=True)
class WideEncoder:
    text_dims = 9


@TEACHERS.register_module(force=True)
class SilentTeacher:
    def __init__(self, depth=3):
        pass


@pytest.mark.parametrize(
    ('teacher', 'width'),
    [
        (dict(model='ViT-B-16'), 512),
        (dict(model='ViT-L-14', type='lfi.VLMAttentionTeacher', pretrained='openai'), 768),
        (dict(model='PE-Core-B-16', type=VLMAttentionTeacher), 1024),
        (dict(model='shapes-tiny', type='lfi.NarrowTeacher'), 96),
        (dict(model='mmpretrain:blip-base_3rdparty_retrieval'), 256),
        (dict(type='lfi.WideTeacher'), 40),
        (dict(model=dict(type='WideEncoder')), 9),
    ],
)
def test_the_width_by_the_config_alone(teacher, width):
    asked = {} if teacher.get('type') == 'lfi.WideTeacher' else dict(concepts=['a'])
    assert text_dims_of({**teacher, **asked}) == width


def test_a_folder_needs_no_weights(tmp_path, teacher_folder):
    assert text_dims_of(dict(model=teacher_folder('vit'), concepts=['a'])) == 24
    config = dict(model_cfg=dict(embed_dim=7, vision_cfg={}, text_cfg={}))
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(config))
    assert text_dims_of(dict(model=str(tmp_path), concepts=['a'])) == 7


def test_blip_by_a_config_file_of_its_own(tmp_path):
    file = tmp_path / 'blip.py'
    file.write_text("model = dict(text_neck=dict(type='Linear', in_features=8, out_features=5))")
    assert text_dims_of(dict(model=f'mmpretrain:{file}', concepts=['a'])) == 5


def test_a_generative_vlm_has_the_width_of_its_decoder(generative_folder):
    for kind in ('llava', 'idefics3', 'qwen2_vl'):
        assert text_dims_of(dict(model=f'transformers:{generative_folder(kind)}', concepts=['a'])) == 32


@pytest.mark.parametrize(
    ('teacher', 'error', 'message'),
    [
        (dict(model='/nowhere/vit'), FileNotFoundError, 'teacher folder not found: /nowhere/vit'),
        (
            dict(model='transformers:/nowhere/vlm'),
            FileNotFoundError,
            'teacher folder not found: /nowhere/vlm',
        ),
        (dict(model='ViT-B-17'), ValueError, "model='ViT-B-17' is neither"),
        (dict(model='mmpretrain:resnet18_8xb16_cifar10'), ValueError, 'is not a BLIP for retrieval'),
        (dict(model='mmpretrain:blip-huge'), ValueError, 'is not a BLIP for retrieval'),
        (
            dict(model=dict(type='SilentEncoder')),
            ValueError,
            'SilentEncoder has no text_dims, a class',
        ),
        (dict(type='lfi.SilentTeacher'), ValueError, 'SilentTeacher has no text_dims, a class'),
    ],
)
def test_where_it_is_not_known_the_error_says_what_to_set(teacher, error, message):
    asked = {} if 'type' in teacher else dict(concepts=['a'])
    # What is missing comes first.
    with pytest.raises(error, match=f'{message}.* readout.text_dims is set to the width of '):
        text_dims_of({**teacher, **asked})


def test_a_teacher_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match=r"teacher\.type='mine.Teacher' is unknown"):
        text_dims_of(dict(type='mine.Teacher'))
