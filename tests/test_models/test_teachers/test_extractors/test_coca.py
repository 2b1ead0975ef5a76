"""CoCa against attention and pooler written out, prompt by prompt."""

import pytest
import torch
from lfi.concepts import ConceptBank
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.extractors import CoCaExtractor
from lfi.models.teachers.extractors.words import concept_span
from lfi.structures import PixelFormat
from slow_vit import attention, embed, feed_forward, gather, norm, project, random, run, unit_texts


def causal(n):
    return torch.full((n, n), float('-inf')).triu(1)


def token_embeddings(vlm, ids):
    """The text tower's tokens (1, n, width) of a prompt without its padding."""
    x = vlm.text.token_embedding.weight[ids][None] + vlm.text.positional_embedding[: len(ids)]
    for block in vlm.text.transformer.resblocks:
        x = run(block, x, bias=causal(len(ids)))
    return x


def cross_attention(block, x, tokens):
    """Attention of each head and its outcome, of x (B, n, width) to tokens (B, K, width)."""
    weight, bias = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    sources = (norm(block.ln_1, x), *2 * [norm(block.ln_1_kv, tokens)])
    q, k, v = (source @ w.T + b for source, w, b in zip(sources, weight, bias))
    weights = attention(block, q, k)
    return weights, project(block, gather(weights, v))


def pool(visual, images):
    """Pooled tokens (B, 1 + K, E) and their attention (B, 1 + K, 1 + N), mean over heads."""
    x = embed(visual, images)
    for block in visual.transformer.resblocks:
        x = run(block, x)
    pooler = visual.attn_pool
    keys, bias = norm(pooler.ln_k, x), pooler.attn.in_proj_bias.chunk(3)
    q = norm(pooler.ln_q, pooler.query)[None] @ pooler.attn.q_proj_weight.T + bias[0]
    k = keys @ pooler.attn.k_proj_weight.T + bias[1]
    v = keys @ pooler.attn.v_proj_weight.T + bias[2]
    weights = attention(pooler, q, k)
    return norm(visual.ln_post, project(pooler, gather(weights, v))), torch.stack(weights).mean(0)


def coca_attention(vlm, images, ids, start, end):
    """Of one prompt's tokens start to end to the patches, after each decoder layer: (B, L, N)."""
    tokens, to_patches = pool(vlm.visual, images)
    x = token_embeddings(vlm, ids).expand(len(images), -1, -1)
    layers = []
    for block, cross in zip(vlm.text_decoder.resblocks, vlm.text_decoder.cross_attn):
        x = run(block, x, bias=causal(len(ids)))
        weights, attended = cross_attention(cross, x, tokens[:, 1:])
        composed = torch.stack(weights).mean(0) @ to_patches[:, 1:]  # [B, n, 1 + N]
        layers.append(composed[:, start:end, 1:].mean(1))
        x = feed_forward(cross, x + attended)
    return torch.stack(layers, 1)


@torch.no_grad()
def test_maps_are_the_composed_attention_of_the_concepts_words(load_coca):
    templates = ('a photo of a {}.', '{} in the snow')
    vlm, tokenizer, bank = load_coca(templates)
    images = random(2, 3, 32, 32)
    maps, pooled = CoCaExtractor.from_vlm(vlm, tokenizer, bank)(images, unit_texts())
    assert maps.shape == (2, 3, 5, 4, 4)
    torch.testing.assert_close(pooled, vlm.encode_image(images), rtol=1e-4, atol=1e-5)
    for c, name in enumerate(bank.names):
        expected = 0
        for template, n_before in zip(templates, (4, 0)):
            prompt = [tokenizer.sot_token_id, *tokenizer.encode(template.replace('{}', name))]
            start = 1 + n_before
            end = start + len(tokenizer.encode(name))
            ids = torch.tensor([*prompt, tokenizer.eot_token_id])
            expected = expected + coca_attention(vlm, images, ids, start, end) / 2
        torch.testing.assert_close(maps[:, :, c].exp().flatten(-2), expected, rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_a_concepts_map_does_not_depend_on_the_other_concepts(load_coca):
    vlm, tokenizer, bank = load_coca()
    images = random(2, 3, 32, 32)
    together, _ = CoCaExtractor(vlm, tokenizer, bank)(images, unit_texts())
    alone = ConceptBank(bank.names[:1], bank.templates, bank.embeddings[:1])
    maps, _ = CoCaExtractor(vlm, tokenizer, alone)(images, unit_texts()[:1])
    torch.testing.assert_close(maps, together[:, :, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('template', 'name', 'words'),
    [
        ('a photo of a {}.', 'cat', ['cat</w>']),
        ('a photo of a {}.', 'a', ['a</w>']),
        ('{}', 'red double decker bus', ['red</w>', 'double</w>', 'decker</w>', 'bus</w>']),
        ('many {}s', 'cat', ['cats</w>']),
        ('a {} a', 'a', ['a</w>']),
    ],
)
def test_the_concepts_own_words_are_found(load_coca, template, name, words):
    tokenizer = load_coca()[1]
    ids = tokenizer([template.replace('{}', name)])[0]
    start, end = concept_span(ids, template, tokenizer)
    assert [tokenizer.decoder[int(i)] for i in ids[start:end]] == words


def test_a_prompt_without_room_for_the_concept_is_refused(load_coca):
    with pytest.raises(ValueError, match="template 'very .*' leaves the concept no room in the 16 tokens"):
        vlm, tokenizer, bank = load_coca(('very ' * 20 + '{}',))
        CoCaExtractor(vlm, tokenizer, bank)


@torch.no_grad()
def test_a_teacher_reads_its_attention_and_frees_the_text_tower(teacher_folder):
    teacher = VLMAttentionTeacher(
        teacher_folder('coca'), extractor=dict(type='coca'), concepts=['cat', 'dog', 'ring'], max_concepts=1
    )
    maps = teacher(random(2, 3, 64, 64), PixelFormat((128.0,) * 3, (64.0,) * 3, rgb=True)).check()
    assert maps.logits.shape == (2, 3, 2, 4, 4)
    assert maps.directions == ('spatial',)
    # No scale is put on logarithms of probabilities: they give back the attention to the patches.
    attention = maps.logits[:, :, 0].exp()
    assert (attention.sum((-2, -1)) < 1).all()
    torch.testing.assert_close(
        maps.spatial_log_probs()[:, :, 0].exp(), attention / attention.sum((-2, -1), keepdim=True)
    )
    kept = [value for part in (teacher, teacher.extractor) for value in vars(part).values()]
    modules = [m for value in kept if isinstance(value, torch.nn.Module) for m in value.modules()]
    assert not any(isinstance(m, torch.nn.Embedding) for m in modules)
