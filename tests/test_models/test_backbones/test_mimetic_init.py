import numpy as np
import pytest
import torch
from lfi.models.backbones import InteractionQueryViT, MimeticInit
from lfi.registry import MODELS
from mmpretrain.models.utils import build_2d_sincos_position_embedding

ARCH = {'embed_dims': 64, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 64}


@pytest.fixture
def vit():
    """`vit(init_cfg, **kwargs)` is a small student on a grid of 4 x 4 patches, its weights drawn."""

    def build(init_cfg, **kwargs):
        torch.manual_seed(0)
        model = InteractionQueryViT(ARCH, img_size=32, patch_size=8, init_cfg=init_cfg, **kwargs)
        model.init_weights()
        return model

    return build


@pytest.mark.parametrize('init_cfg', [{'type': 'lfi.MimeticInit'}, [{'type': 'lfi.MimeticInit'}]])
def test_the_products_of_the_projections_are_near_the_identity(vit, init_cfg):
    model = vit(init_cfg)
    for layer in model.layers:
        query, key, value = layer.attn.qkv.weight.detach().chunk(3)
        for q, k in zip(query.chunk(2), key.chunk(2)):
            product = q.mT @ k  # [C, C], of the head's rank
            assert np.linalg.matrix_rank(product.numpy()) == 32
            assert 0.3 < product.diag().mean() < 0.8
        product = layer.attn.proj.weight.detach() @ value
        # Noise of standard deviation 0.4 / sqrt(64), less 0.4 on the diagonal.
        assert product.diag().mean() == pytest.approx(-0.4, abs=0.03)
        rest = product[~torch.eye(64, dtype=bool)]
        assert rest.std() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize('kind', ['lfi.MimeticInit', MimeticInit])
@pytest.mark.parametrize('with_cls_token', [True, False])
def test_positions_are_sines_and_cosines_that_are_learned(vit, with_cls_token, kind):
    out_type = 'cls_token' if with_cls_token else 'avg_featmap'
    model = vit({'type': kind}, with_cls_token=with_cls_token, out_type=out_type)
    expected = build_2d_sincos_position_embedding((4, 4), 64, cls_token=with_cls_token)
    torch.testing.assert_close(model.pos_embed.data, expected)
    assert model.pos_embed.requires_grad


def attention_to_neighbours(model):
    """Shares of the first block's attention of the patches on one another, and of the four neighbours."""
    attention = model.layers[0].attn
    places = model.layers[0].ln1(model.pos_embed[:, 1:])
    q, k, _ = attention.qkv(places).unflatten(-1, (3, 2, 32)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / 32**0.5).softmax(-1).mean((0, 1))  # [N, N]
    rows = torch.arange(16)
    distance = (rows[:, None] // 4 - rows // 4).abs() + (rows[:, None] % 4 - rows % 4).abs()
    return weights[distance <= 1].sum() / 16, (distance <= 1).sum() / 256


def test_patches_look_at_their_neighbours_from_the_start(vit):
    near, by_chance = attention_to_neighbours(vit({'type': 'lfi.MimeticInit'}))
    assert near > 1.5 * by_chance
    near, by_chance = attention_to_neighbours(vit(None))
    assert near < 1.2 * by_chance


def test_seeds_decide(vit):
    first, again = (vit({'type': 'lfi.MimeticInit'}).state_dict() for _ in range(2))
    assert all(first[name].equal(again[name]) for name in first)


def test_a_strength_is_given_by_config():
    model = MODELS.build(
        {
            'type': 'lfi.InteractionQueryViT',
            'arch': ARCH,
            'img_size': 32,
            'patch_size': 8,
            'num_queries': 0,
            'init_cfg': {'type': 'lfi.MimeticInit', 'vo': 0.0},
        }
    )
    model.init_weights()
    assert not model.layers[0].attn.proj.weight.any()
    assert MimeticInit().vo == 0.4
