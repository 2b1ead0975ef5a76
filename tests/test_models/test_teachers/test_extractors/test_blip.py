"""BLIP against the cross-attention that its own forward pass computes, prompt by prompt."""

import pytest
import torch
from lfi.concepts import ConceptBank
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.extractors import BlipExtractor
from lfi.models.teachers.loading.weights import load_vlm
from lfi.structures import PixelFormat
from mmpretrain.utils import dependency
from slow_vit import move_patches, random

needs_multimodal = pytest.mark.skipif(
    not dependency.WITH_MULTIMODAL, reason="needs what `pip install 'lfi[multimodal]'` brings"
)
VOCABULARY = '[PAD] [UNK] [CLS] [SEP] [MASK] a photo of . cat dog red bus ##s many ring'
CONFIG = """
model = dict(
    type='BlipRetrieval',
    tokenizer=dict(type='BlipTokenizer', name_or_path={folder!r}),
    vision_backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=64),
        img_size=32,
        patch_size=8,
        out_type='raw',
    ),
    text_backbone=dict(
        type='XBertEncoder',
        med_config=dict(
            architectures=['BertModel'],
            attention_probs_dropout_prob=0.1,
            hidden_act='gelu',
            hidden_dropout_prob=0.1,
            hidden_size=24,
            initializer_range=0.3,
            intermediate_size=48,
            layer_norm_eps=1e-12,
            max_position_embeddings=32,
            model_type='bert',
            num_attention_heads=2,
            num_hidden_layers=3,
            pad_token_id=0,
            add_type_embeddings=False,
            vocab_size=18,
            encoder_width=32,
            add_cross_attention=True,
        ),
    ),
    vision_neck=dict(type='Linear', in_features=32, out_features=20),
    text_neck=dict(type='Linear', in_features=24, out_features=20),
    head=dict(type='ITCHead', embed_dim=20),
    multimodal_head=dict(type='ITMHead', hidden_size=24, with_pooler=False),
    max_txt_len=12,
    data_preprocessor=dict(
        type='MultiModalDataPreprocessor', mean=[127.5, 102, 76.5], std=[51, 63.75, 76.5], to_rgb=True
    ),
)
"""
NAMES = ('cat', 'red bus', 'a', 'ring')


@pytest.fixture
def config(tmp_path):
    """The config file of a tiny BLIP."""
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY.split()))
    path = tmp_path / 'tiny_blip.py'
    path.write_text(CONFIG.format(folder=str(tmp_path)))
    return path


@pytest.fixture
def blip(config):
    """The tiny BLIP as mmpretrain builds it, with seeded random weights."""
    from mmpretrain import get_model

    model = get_model(str(config)).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(noise, alpha=0.2 if parameter.ndim else 0.001)
    return model


@pytest.fixture
def weights(blip, tmp_path):
    path = tmp_path / 'blip.pth'
    torch.save(dict(state_dict=blip.state_dict()), path)
    return path


def make_extractor(config, weights, templates=('a photo of a {}.',), names=NAMES):
    vlm, tokenizer = load_vlm(f'mmpretrain:{config}', str(weights), allow_random=False)
    with torch.no_grad():
        bank = ConceptBank.encode(names, templates, lambda texts: vlm.encode_text(tokenizer(texts)))
    return BlipExtractor.from_vlm(vlm, tokenizer, bank), bank


def own_attention(blip, image_tokens, prompt):
    """The text encoder's attention as it matches a prompt with images, L times (B, heads, n, 1 + N)."""
    seen = []
    hooks = [
        layer.crossattention.self.register_forward_hook(lambda module, args, output: seen.append(output[1]))
        for layer in blip.text_backbone.encoder.layer
    ]
    ids = blip.tokenizer(prompt, return_tensors='pt').input_ids.repeat(len(image_tokens), 1)
    ids[:, 0] = blip.tokenizer.additional_special_tokens_ids[0]
    blip.text_backbone(ids, encoder_hidden_states=image_tokens, return_dict=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    return seen


@needs_multimodal
@torch.no_grad()
def test_maps_are_the_models_own_cross_attention_of_the_concepts_words(config, blip, weights):
    templates = ('a photo of a {}.', 'many {}')
    extractor, bank = make_extractor(config, weights, templates)
    images = random(2, 3, 32, 32)
    maps, pooled = extractor(images, bank.embeddings)
    assert maps.shape == (2, 3, 4, 4, 4)
    features = blip.extract_feat(images, return_embeds=True)
    torch.testing.assert_close(pooled, features['image_feat'], rtol=1e-4, atol=1e-5)
    for c, (name, n_words) in enumerate(zip(NAMES, (1, 2, 1, 1))):
        expected = 0
        for template, start in zip(templates, (5, 2)):
            layers = own_attention(blip, features['image_embeds'], template.replace('{}', name))
            rows = torch.stack(layers, 1)[..., start : start + n_words, 1:]  # [B, L, heads, words, N]
            expected = expected + rows.mean((2, 3)) / 2
        torch.testing.assert_close(maps[:, :, c].exp().flatten(-2), expected, rtol=1e-3, atol=1e-6)


@needs_multimodal
@torch.no_grad()
def test_maps_move_with_what_moves(config, weights):
    extractor, bank = make_extractor(config, weights)
    own = extractor.visual.backbone.pos_embed
    own[:, 2:] = own[:, 1:2]
    images = torch.zeros(1, 3, 48, 32)
    images[:, :, 8:16, 16:24] = 2 * random(3, 8, 8)
    maps, _ = extractor(images, bank.embeddings)
    assert maps.shape[-2:] == (6, 4)
    assert (maps - maps.mean((-2, -1), keepdim=True)).abs().max() > 1e-3

    def move(grid):
        return grid.roll((3, 1), (-2, -1))

    moved, _ = extractor(move_patches(images, move), bank.embeddings)
    torch.testing.assert_close(moved, move(maps), rtol=1e-4, atol=1e-4)


@needs_multimodal
@torch.no_grad()
def test_a_teacher_scores_images_as_the_model_does_and_frees_what_it_does_not_read(config, blip, weights):
    teacher = VLMAttentionTeacher(
        f'mmpretrain:{config}',
        str(weights),
        extractor=dict(type='blip'),
        concepts=NAMES,
        templates=('many {}',),
    )
    assert teacher.input_size == (32, 32)
    # The batch's pixels are the model's own.
    pixels = PixelFormat((127.5, 102.0, 76.5), (51.0, 63.75, 76.5), rgb=True)
    images = random(2, 3, 32, 32)
    maps = teacher(images, pixels).check()
    assert maps.directions == ('spatial',)
    texts = blip.tokenizer([f'many {name}' for name in NAMES], padding=True, return_tensors='pt')
    texts = blip._extract_feat(texts, modality='texts')['text_feat']
    scores = blip.extract_feat(images)['image_feat'] @ texts.T / blip.temp
    torch.testing.assert_close(maps.presence, scores.softmax(-1), rtol=1e-3, atol=1e-5)
    kept = [value for part in (teacher, teacher.extractor) for value in vars(part).values()]
    modules = [m for value in kept if isinstance(value, torch.nn.Module) for m in value.modules()]
    assert not any(isinstance(m, torch.nn.Embedding) for m in modules)
    assert not any(m.training for m in modules)


@needs_multimodal
def test_an_input_that_cuts_patches_is_refused(config, weights):
    extractor, bank = make_extractor(config, weights)
    with pytest.raises(ValueError, match=r'input_size=\(32, 36\) must be a multiple of'):
        extractor(torch.zeros(1, 3, 32, 36), bank.embeddings)


@needs_multimodal
def test_weights_that_do_not_fit_say_why(config, blip, tmp_path):
    model, state = f'mmpretrain:{config}', blip.state_dict()
    with pytest.raises(ValueError, match='pretrained=None: the teacher .* would have random weights'):
        load_vlm(model, None, allow_random=False)
    load_vlm(model, None, allow_random=True)
    with pytest.raises(FileNotFoundError, match=r'teacher weights not found: gone\.pth'):
        load_vlm(model, 'gone.pth', allow_random=False)
    with pytest.raises(FileNotFoundError, match=r'teacher config not found: gone\.py'):
        load_vlm('mmpretrain:gone.py', None, allow_random=True)
    path = tmp_path / 'spoilt.pth'
    for spoilt in (
        {name: value for name, value in state.items() if name != 'text_neck.weight'},
        {**state, 'text_neck.weight': torch.zeros(3, 3)},
    ):
        torch.save(spoilt, path)
        with pytest.raises(
            ValueError, match=r'the weights in .*spoilt\.pth do not fit[\s\S]*text_neck\.weight'
        ):
            load_vlm(model, str(path), allow_random=False)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'the weights in .*spoilt\.pth do not fit .* or are corrupted'):
        load_vlm(model, str(path), allow_random=False)


@needs_multimodal
def test_a_vocabulary_that_is_not_there_says_how_to_go_on_without_network(config):
    (config.parent / 'vocab.txt').unlink()
    with pytest.raises(
        RuntimeError, match=r'could not be built: [\s\S]* name_or_path is a folder with vocab\.txt'
    ):
        load_vlm(f'mmpretrain:{config}', None, allow_random=True)


@needs_multimodal
def test_a_model_of_another_kind_is_named():
    with pytest.raises(ValueError, match='is a ImageClassifier, not a BLIP for retrieval'):
        load_vlm('mmpretrain:mobilenet-v3-small-075_3rdparty_in1k', None, allow_random=True)


@needs_multimodal
def test_a_model_of_another_kind_is_not_built(monkeypatch):
    # It would run code of a repository, or of a folder of its name in the working directory.
    monkeypatch.setattr('mmpretrain.get_model', lambda name: pytest.fail(f'{name} is built'))
    with pytest.raises(ValueError, match='is a MiniGPT4, not a BLIP for retrieval'):
        load_vlm('mmpretrain:minigpt-4_baichuan-7b_caption', None, allow_random=True)


def test_without_its_requirements_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dependency, 'WITH_MULTIMODAL', False)
    with pytest.raises(
        ImportError, match=r"'mmpretrain:blip.*' needs what `pip install 'lfi\[multimodal\]'`"
    ):
        load_vlm('mmpretrain:blip-base_3rdparty_retrieval', None, allow_random=True)
