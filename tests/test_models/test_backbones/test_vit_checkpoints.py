"""Foreign checkpoints give the foreign model's outputs, and go back unchanged."""

import open_clip
import pytest
import torch
import torch.nn.functional as F
from lfi.models import InteractionQueryViT
from lfi.models.backbones.vit_checkpoints import detect_format, from_lfi, to_lfi
from timm.models.vision_transformer import VisionTransformer as TimmViT

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)


def student(state, **arguments):
    model = InteractionQueryViT(ARCH, img_size=32, patch_size=8, **arguments).eval()
    keys = model.load_state_dict(state, strict=False)
    assert not keys.unexpected_keys
    assert all('quer' in name for name in keys.missing_keys)
    return model


def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def randomised(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


@pytest.fixture(scope='module')
def timm_vit():
    return randomised(
        TimmViT(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2, num_classes=5)
    )


@pytest.fixture(scope='module')
def clip_vit():
    vision = dict(image_size=32, layers=3, width=16, head_width=8, mlp_ratio=2.0, patch_size=8)
    text = dict(context_length=8, vocab_size=49408, width=8, heads=1, layers=1)
    return randomised(open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text))


def vitdet_state():
    """A state dict as detectron2's ViTDet writes it: timm's names, and those of relative positions."""
    vit = TimmViT(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2, num_classes=0)
    state = {
        f'backbone.net.{name}': value
        for name, value in randomised(vit).state_dict().items()
        if name.split('.')[0] not in ('cls_token', 'norm')
    }
    for i in range(3):
        for axis in 'hw':
            state[f'backbone.net.blocks.{i}.attn.rel_pos_{axis}'] = torch.randn(5 if i < 2 else 7, 8)
    return {**state, 'backbone.simfp_2.0.weight': torch.randn(2)}


def vitdet_features(state, images):
    """What ViTDet makes of images, (B, 16, 4, 4), computed slowly: windows of 3 but in the last block."""
    state = {name.removeprefix('backbone.net.'): value for name, value in state.items()}

    def linear(x, name):
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def norm(x, name):
        return F.layer_norm(x, (16,), state[f'{name}.weight'], state[f'{name}.bias'], 1e-6)

    def attend(x, block):  # [h, w, 16]
        h, w, _ = x.shape
        q, k, v = linear(x.flatten(0, 1), f'{block}.attn.qkv').view(h * w, 3, 2, 8).permute(1, 2, 0, 3)
        y, x = (each.flatten() for each in torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij'))
        rows = state[f'{block}.attn.rel_pos_h'][y[:, None] - y + h - 1]  # [h * w, h * w, 8]
        columns = state[f'{block}.attn.rel_pos_w'][x[:, None] - x + w - 1]
        scores = q @ k.mT / 8**0.5 + (q[:, :, None] * (rows + columns)).sum(-1)
        merged = (scores.softmax(-1) @ v).transpose(0, 1).reshape(h, w, 16)
        return linear(merged, f'{block}.attn.proj')

    x = F.conv2d(images, state['patch_embed.proj.weight'], state['patch_embed.proj.bias'], stride=8)
    x = x.permute(0, 2, 3, 1) + state['pos_embed'][:, 1:].view(1, 4, 4, 16)
    for i in range(3):
        window, block = (4, 3)[i < 2], f'blocks.{i}'
        # Zeros fill the windows up, and are attended to.
        filled = F.pad(norm(x, f'{block}.norm1'), (0, 0, 0, -4 % window, 0, -4 % window))
        attended = torch.empty_like(filled)
        for b in range(len(x)):
            for top in range(0, 4, window):
                for left in range(0, 4, window):
                    part = b, slice(top, top + window), slice(left, left + window)
                    attended[part] = attend(filled[part], block)
        x = x + attended[:, :4, :4]
        x = x + linear(F.gelu(linear(norm(x, f'{block}.norm2'), f'{block}.mlp.fc1')), f'{block}.mlp.fc2')
    return x.permute(0, 3, 1, 2)


def test_timms_vit(timm_vit):
    state, left = to_lfi(timm_vit.state_dict(), detect_format(timm_vit.state_dict()))
    assert left == ['head.weight', 'head.bias']
    with torch.no_grad():
        torch.testing.assert_close(student(state)(images())[0], timm_vit.forward_features(images())[:, 0])


def test_clips_vit(clip_vit):
    state, left = to_lfi(clip_vit.state_dict(), detect_format(clip_vit.state_dict()))
    assert 'visual.proj' in left and all('resblocks' not in name for name in left if 'visual' in name)
    model = student(state, pre_norm=True, patch_cfg=dict(bias=False), norm_cfg=dict(type='LN', eps=1e-5))
    with torch.no_grad():
        expected = clip_vit.encode_image(images())
        torch.testing.assert_close(model(images())[0] @ clip_vit.visual.proj, expected)


def test_vitdets_vit():
    foreign = vitdet_state()
    assert detect_format(foreign) == 'vitdet'
    state, left = to_lfi(foreign, 'vitdet')
    assert left == ['backbone.simfp_2.0.weight']
    dense = dict(
        with_cls_token=False, out_type='featmap', window_size=3, global_attn_layers=[2], use_rel_pos=True
    )
    model = student(state, final_norm=False, **dense)
    with torch.no_grad():
        torch.testing.assert_close(model(images())[0], vitdet_features(foreign, images()))
    assert torch.equal(model.pos_embed, foreign['backbone.net.pos_embed'][:, 1:])
    rel_pos = model.layers[1].relative_position.rel_pos_w
    assert torch.equal(rel_pos, foreign['backbone.net.blocks.1.attn.rel_pos_w'])


@pytest.mark.parametrize('form', ['timm', 'clip', 'vitdet'])
def test_round_trip(form, timm_vit, clip_vit):
    foreign = {'timm': timm_vit.state_dict(), 'clip': clip_vit.state_dict(), 'vitdet': vitdet_state()}[form]
    ours, left = to_lfi(foreign, form)
    back, _ = from_lfi({**ours, 'interaction_queries': torch.zeros(1)}, form)
    expected = {name: value for name, value in foreign.items() if name not in left}
    assert back.keys() == expected.keys()
    for name, value in expected.items():
        if name == 'backbone.net.pos_embed':
            # The class token's place, which no one reads, is lost.
            value, back[name] = value[:, 1:], back[name][:, 1:]
        assert torch.equal(back[name], value), name
    again, _ = to_lfi(back, form)
    assert all(torch.equal(again[name], value) for name, value in ours.items() if name != 'pos_embed')


@pytest.mark.parametrize('grid', [(4, 4), (3, 8)])
@pytest.mark.parametrize('with_cls_token', [True, False])
def test_vitdet_takes_any_student_and_gives_it_back(with_cls_token, grid):
    tokens = grid[0] * grid[1]
    state = {
        'pos_embed': torch.randn(1, tokens + with_cls_token, 8),
        'patch_embed.projection.weight': torch.randn(8, 3, 4, 4),
    }
    if with_cls_token:
        state['cls_token'] = torch.randn(1, 1, 8)
    foreign, left = from_lfi(state, 'vitdet')
    # One row more than the grid has, and no token.
    assert foreign['backbone.net.pos_embed'].shape == (1, tokens + 1, 8)
    assert left == ['cls_token'] * with_cls_token and 'backbone.net.cls_token' not in foreign
    ours, _ = to_lfi(foreign, 'vitdet')
    assert torch.equal(ours['pos_embed'], state['pos_embed'][:, with_cls_token * 1 :])


def test_a_student_that_is_no_other_projects_vit_is_refused():
    state = {'pos_embed': torch.zeros(1, 4, 8), 'patch_embed.projection.weight': torch.zeros(8, 3, 4, 4)}
    with pytest.raises(ValueError, match='has a class token, and this student has none'):
        from_lfi(state, 'clip')
    with pytest.raises(ValueError, match='a student with a stem'):
        from_lfi({**state, 'patch_embed.layers.0.conv.weight': torch.zeros(8, 3, 3, 3)}, 'timm')


def test_anything_else_is_not_recognised():
    assert detect_format({'layer1.0.conv1.weight': torch.zeros(1)}) is None


@pytest.mark.parametrize('grid', [2, 4])
def test_pretrained_weights_with_a_class_token_serve_dense_tasks(grid):
    classifier = InteractionQueryViT(ARCH, img_size=16, patch_size=8)
    dense = InteractionQueryViT(
        ARCH, img_size=grid * 8, patch_size=8, with_cls_token=False, out_type='featmap'
    )
    keys = dense.load_state_dict(classifier.state_dict(), strict=False)
    assert keys.unexpected_keys == ['cls_token']
    assert dense.pos_embed.shape == (1, grid**2, 16)
    if grid == 2:
        assert torch.equal(dense.pos_embed, classifier.pos_embed[:, 1:])
