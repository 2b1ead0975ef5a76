"""Stored text towers: equal to open_clip's own, for models of each form of text tower, and safe to read."""

import json

import open_clip
import pytest
import torch
from lfi.models.teachers.stored_tower import load_text_tower, write_text_tower
from safetensors.torch import load_file, save_file

TEXTS = ['a barn', 'two red cars, one of them parked']
SMALL_TEXT = dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=2)
IMAGE = dict(image_size=32, patch_size=16, width=64, head_width=32, layers=1)
MODELS = {
    'CLIP': dict(embed_dim=24, vision_cfg=IMAGE, text_cfg=SMALL_TEXT),
    'quick_gelu': dict(embed_dim=24, vision_cfg=IMAGE, text_cfg=SMALL_TEXT, quick_gelu=True),
    # SigLIP's form: last token, no causal mask, a bias.
    'SigLIP': dict(
        embed_dim=32,
        vision_cfg=IMAGE,
        text_cfg=dict(SMALL_TEXT, no_causal_mask=True, pool_type='last', proj_bias=True),
        custom_text=True,
        init_logit_bias=-10,
    ),
}


def teacher_folder(folder, config):
    """Folder of a model with random weights, and open_clip's model of it."""
    folder.mkdir()
    pixels = dict(mean=[0.5] * 3, std=[0.5] * 3)
    (folder / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=config, preprocess_cfg=pixels)))
    torch.manual_seed(0)
    config = {key: value for key, value in config.items() if key != 'custom_text'}
    kind = open_clip.CustomTextCLIP if 'init_logit_bias' in config else open_clip.CLIP
    model = kind(**config).eval()
    save_file(
        {name: value.clone() for name, value in model.state_dict().items()}, folder / 'model.safetensors'
    )
    return model


@pytest.fixture
def tower(tmp_path):
    """`tower(name)`: a stored text tower of a model in `MODELS`, and open_clip's model."""

    def make(name='CLIP'):
        model = teacher_folder(tmp_path / 'teacher', MODELS[name])
        (tmp_path / 'tower').mkdir()
        write_text_tower(tmp_path / 'tower', str(tmp_path / 'teacher'), None)
        return tmp_path / 'tower', model

    return make


@pytest.mark.parametrize('name', MODELS)
def test_it_embeds_texts_as_the_whole_model_does(tower, name):
    folder, model = tower(name)
    text_model, tokenizer = load_text_tower(folder)
    ids = open_clip.tokenize(TEXTS)
    assert torch.equal(tokenizer(TEXTS), ids)
    with torch.no_grad():
        torch.testing.assert_close(text_model.encode_text(ids), model.encode_text(ids))


def test_no_weights_of_images_are_stored(tower):
    folder, model = tower()
    names = load_file(folder / 'open_clip_model.safetensors').keys()
    assert names == {name for name in model.state_dict() if not name.startswith(('visual', 'logit'))}
    assert sorted(path.name for path in folder.iterdir()) == [
        'open_clip_config.json',
        'open_clip_model.safetensors',
    ]


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ('mmpretrain:blip-base_3rdparty_retrieval', 'is not of open_clip'),
        ('transformers:me/vlm', 'is not of open_clip'),
        (dict(type='Mine'), 'is not of open_clip'),
        ('coca_ViT-B-32', 'belongs to a CoCa'),
        ('xlm-roberta-base-ViT-B-32', "is 'xlm-roberta-base' of transformers"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_it_is_loaded(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        write_text_tower(tmp_path, model, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('vocab_size', 10**9, 'vocab_size=1000000000 must be above 0, and at most 1,048,576'),
        ('vocab_size', 10**6, 'differ in token_embedding.weight'),
        ('context_length', 10**9, 'context_length=1000000000 must be'),
        ('context_length', 4000, 'differ in positional_embedding'),
        ('width', 10**9, 'width=1000000000 must be'),
        ('mlp_ratio', 10**9, 'mlp_ratio=1000000000 must be'),
        ('mlp_ratio', 1e-9, 'differ in transformer.resblocks.0.mlp'),
        ('layers', 10**9, 'layers=1000000000 must be'),
        ('layers', 100, 'differ in transformer.resblocks.10'),
        ('vocab_size', 'many', 'is corrupted'),
        ('heads', 0, 'is corrupted'),
        ('vocab_size', 4, 'is corrupted'),
        ('hf_model_name', 'me/code', "is 'me/code' of transformers"),
    ],
)
def test_a_strangers_config_takes_no_more_than_its_weights(tower, field, value, message):
    folder, _ = tower()
    path = folder / 'open_clip_config.json'
    config = json.loads(path.read_text())
    config['model_cfg']['text_cfg'][field] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_text_tower(folder)


def test_corrupted_weights_are_refused(tower):
    folder, _ = tower()
    path = folder / 'open_clip_model.safetensors'
    state = load_file(path)
    save_file({**state, 'text_projection': state['text_projection'] * torch.nan}, path)
    with pytest.raises(ValueError, match='is corrupted'):
        load_text_tower(folder)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match='is missing or corrupted'):
        load_text_tower(folder)
