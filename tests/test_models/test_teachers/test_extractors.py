"""Each extractor against its published formula, written out from the tower's weights."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import (
    ClearCLIPExtractor,
    DenseTrunkExtractor,
    MaskCLIPExtractor,
)
from lfi.models.teachers.weights import load_vlm


@pytest.fixture
def load_tower(teacher_folder):
    def load(name):
        return load_vlm(teacher_folder(name), None, allow_random=False)[0].visual

    return load


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit_texts():
    return F.normalize(random(5, 24, seed=1), dim=-1)


# ---- the written-out ViT ----------------------------------------------------------------------------


def gelu(x, quick):
    return x * torch.sigmoid(1.702 * x) if quick else F.gelu(x)


def scale(module, x):
    return x * module.gamma if hasattr(module, 'gamma') else x


def projections(block, x):
    """q, k and v of all tokens, each (B, N, width)."""
    weight, bias = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    x = F.layer_norm(x, x.shape[-1:], block.ln_1.weight, block.ln_1.bias)
    return [x @ w.T + b for w, b in zip(weight, bias)]


def attend(block, q, k, v):
    """Softmax attention head by head, without the output projection."""
    width = q.shape[-1] // block.attn.num_heads
    heads = []
    for h in range(block.attn.num_heads):
        part = slice(h * width, (h + 1) * width)
        weights = (q[..., part] @ k[..., part].mT / width**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, -1)


def project(block, x):
    return x @ block.attn.out_proj.weight.T + block.attn.out_proj.bias


def feed_forward(block, x, quick):
    hidden = F.layer_norm(x, x.shape[-1:], block.ln_2.weight, block.ln_2.bias)
    hidden = gelu(hidden @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias, quick)
    return x + scale(block.ls_2, hidden @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias)


def tokens_before_the_last_block(visual, images, quick):
    x = F.conv2d(images, visual.conv1.weight, stride=8).flatten(2).mT
    x = torch.cat((visual.class_embedding.expand(len(x), 1, -1), x), 1) + visual.positional_embedding
    x = visual.ln_pre(x)
    for block in visual.transformer.resblocks[:-1]:
        x = x + scale(block.ls_1, project(block, attend(block, *projections(block, x))))
        x = feed_forward(block, x, quick)
    return x


def maskclip_patches(block, x, quick):
    """Attention := identity: the value path, with residual and feed-forward."""
    _, _, v = projections(block, x)
    return feed_forward(block, x + scale(block.ls_1, project(block, v)), quick)[:, 1:]


def clearclip_patches(block, x, quick):
    """softmax(q q^T / sqrt(d)) v, no residual, no feed-forward."""
    q, _, v = projections(block, x)
    return project(block, attend(block, q, q, v))[:, 1:]


@pytest.mark.parametrize('tower', ['vit', 'vit_layer_scale'])
@pytest.mark.parametrize(
    ('extractor', 'formula'),
    [(MaskCLIPExtractor, maskclip_patches), (ClearCLIPExtractor, clearclip_patches)],
    ids=['maskclip', 'clearclip'],
)
def test_maps_of_a_vit_equal_the_published_formula(load_tower, tower, extractor, formula):
    visual, quick = load_tower(tower), tower == 'vit_layer_scale'
    images, texts = random(2, 3, 32, 32), unit_texts()
    with torch.no_grad():
        maps, pooled = extractor(visual)(images, texts)
        x = tokens_before_the_last_block(visual, images, quick)
        patches = formula(visual.transformer.resblocks[-1], x, quick)
        places = F.normalize(visual.ln_post(patches) @ visual.proj, dim=-1)  # [B, N, E]
        expected = torch.einsum('bne,ce->bcn', places, texts).view(2, 1, 5, 4, 4)
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pooled, F.normalize(visual(images), dim=-1), rtol=1e-4, atol=1e-5)


def test_the_two_ways_to_change_the_last_block_differ(load_tower):
    visual, images = load_tower('vit'), random(2, 3, 32, 32)
    with torch.no_grad():
        first, second = (e(visual)(images, unit_texts())[0] for e in (MaskCLIPExtractor, ClearCLIPExtractor))
    assert (first - second).abs().max() > 1e-2


# ---- dense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('trunk', ['cnn_test_efficientnet', 'cnn_test_resnet'])
def test_dense_maps_put_each_place_through_the_head_and_average_to_the_towers_cosine(load_tower, trunk):
    visual = load_tower(trunk)
    images, texts = random(2, 3, 96, 64), unit_texts()
    with torch.no_grad():
        maps, pooled = DenseTrunkExtractor(visual)(images, texts)
        features = visual.trunk.forward_features(images)
        own = visual(images)
    assert maps.shape == (2, 1, 5, *features.shape[-2:])
    torch.testing.assert_close(pooled, F.normalize(own, dim=-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps.mean((1, 3, 4)), F.normalize(own, dim=-1) @ texts.T, rtol=1e-3, atol=1e-5)
    head = visual.head.proj
    for b in range(2):
        for y in range(features.shape[-2]):
            for x in range(features.shape[-1]):
                place = head.weight @ features[b, :, y, x]
                expected = texts @ place / own[b].norm()
                torch.testing.assert_close(maps[b, 0, :, y, x], expected, rtol=1e-3, atol=1e-4)


def test_dense_maps_move_with_an_object_that_moves_by_the_stride(load_tower):
    extractor = DenseTrunkExtractor(load_tower('cnn_test_resnet'))
    background = torch.zeros(1, 3, 384, 384)
    thing = 2 * random(3, 24, 24)
    maps = []
    with torch.no_grad():
        for top, left in ((None, None), (148, 148), (180, 212)):
            image = background.clone()
            if top is not None:
                image[0, :, top : top + 24, left : left + 24] = thing
            places, pooled = extractor.features(image)
            # Undo the division by the picture's own length, so that pictures can be subtracted.
            maps.append(places[0, 0] * pooled.norm())
    at_first, at_second = maps[1] - maps[0], maps[2] - maps[0]
    assert at_first.abs().max() > 1e-2
    # One cell down, two cells right.
    torch.testing.assert_close(at_second, at_first.roll((1, 2), (1, 2)), rtol=1e-3, atol=1e-5)


def test_dense_maps_of_a_trained_teacher_average_to_the_models_own_cosine(lite0_folder):
    vlm, tokenizer = load_vlm(lite0_folder, None, allow_random=False)
    images = random(1, 3, 224, 224).clamp(-1, 1)
    with torch.no_grad():
        texts = vlm.encode_text(tokenizer(['a dog', 'a red sports car', 'a mushroom']), normalize=True)
        maps, _ = DenseTrunkExtractor(vlm.visual)(images, texts)
        expected = vlm.encode_image(images, normalize=True) @ texts.T
    assert maps.shape == (1, 1, 3, 7, 7)
    torch.testing.assert_close(maps.mean((1, 3, 4)), expected, rtol=1e-3, atol=1e-4)


# ---- what cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('extractor', 'tower', 'message'),
    [
        (DenseTrunkExtractor, 'vit', "not this model's VisionTransformer .*use 'maskclip' or 'clearclip'"),
        (DenseTrunkExtractor, 'cnn_test_vit', "not this model's TimmModel with trunk VisionTransformer"),
        # It has a convolution of its own after the pooling.
        (DenseTrunkExtractor, 'cnn_lcnet_035', "not this model's TimmModel with trunk MobileNetV3"),
        (
            MaskCLIPExtractor,
            'cnn_test_resnet',
            "MaskCLIPExtractor reads open_clip's plain ViT.*'dense' reads",
        ),
        (ClearCLIPExtractor, 'cnn_test_vit', "ClearCLIPExtractor reads .* not this model's TimmModel"),
    ],
)
def test_a_tower_the_extractor_cannot_read_is_refused(load_tower, extractor, tower, message):
    with pytest.raises(ValueError, match=message):
        extractor(load_tower(tower))


def test_an_input_of_another_size_than_the_position_embeddings_is_refused(load_tower):
    with pytest.raises(ValueError, match=r'input_size=\(64, 48\) does not fit the position embeddings'):
        MaskCLIPExtractor(load_tower('vit'))(torch.zeros(1, 3, 64, 48), torch.eye(3))
