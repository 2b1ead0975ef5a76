import pytest
import torch
from lfi.models.class_activation import class_activation
from lfi.registry import MODELS
from mmengine.registry import init_default_scope

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16)


def make(backbone=None, **kwargs):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone={
                'type': 'lfi.InteractionQueryViT',
                'arch': ARCH,
                'img_size': 32,
                'patch_size': 8,
                'with_cls_token': False,
                'out_type': 'avg_featmap',
                **(backbone or {}),
            },
            head=dict(type='mmpretrain.VisionTransformerClsHead', num_classes=5, in_channels=16),
            **kwargs,
        )
    )
    torch.nn.init.normal_(model.head.layers.head.weight)
    torch.nn.init.normal_(model.backbone.ln2.weight)
    return model.eval()


@pytest.mark.parametrize('kind', ['lfi.InteractionQueryViT', 'mmpretrain.VisionTransformer'])
def test_a_locations_value_is_how_the_score_moves_with_it(kind):
    model, images = make(dict(type=kind)).double(), torch.randn(2, 3, 32, 40, dtype=torch.float64)
    found = class_activation(model, images, [4, 1])
    assert found.shape == (2, 2, 4, 5) and not found.requires_grad
    assert model.backbone.out_type == 'avg_featmap'

    kept = []
    handle = model.backbone.ln1.register_forward_hook(lambda module, args, out: kept.append(out))
    model.backbone(images)
    handle.remove()
    tokens = kept[0].detach()  # [B, N, C]
    for b in range(2):
        for n, index in enumerate([4, 1]):
            for i in range(20):
                # The score as the mean token moves a little by this token.
                step = 1e-6 * tokens[b, i]
                ends = [
                    model.head((model.backbone.ln2(tokens[b].mean(0) + sign * step)[None],))[0, index]
                    for sign in (1, -1)
                ]
                slope = (ends[0] - ends[1]).item() / 2e-6
                assert found[b, n, i // 5, i % 5].item() == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(backbone=dict(out_type='cls_token', with_cls_token=True)),
        dict(neck=dict(type='mmpretrain.GlobalAveragePooling', dim=1)),
    ],
)
def test_other_poolings_are_refused(arguments):
    if 'neck' in arguments:
        model = make(neck=arguments['neck'])
    else:
        torch.manual_seed(0)
        init_default_scope('mmpretrain')
        model = MODELS.build(
            dict(
                type='mmpretrain.ImageClassifier',
                backbone=dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8),
                head=dict(type='VisionTransformerClsHead', num_classes=5, in_channels=16),
            )
        )
    with pytest.raises(TypeError, match='class activation needs a classifier whose ViT averages'):
        class_activation(model, torch.zeros(1, 3, 32, 32), [0])
