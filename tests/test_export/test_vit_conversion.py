"""ViT checkpoints of other projects, there and back."""

import lfi
import pytest
import torch
from lfi.errors import UsageError
from lfi.models import InteractionQueryViT
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """As DeiT and MAE publish their weights."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=3
    )
    path = tmp_path_factory.mktemp('published') / 'deit.pth'
    torch.save({'model': vit.state_dict()}, path)
    return path


def test_there_and_back(published, tmp_path):
    ours, back = tmp_path / 'ours.pth', tmp_path / 'back.safetensors'
    assert lfi.convert_vit_checkpoint(published, ours) == ('head.weight', 'head.bias')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    pretrained = dict(type='Pretrained', checkpoint=str(ours))
    student = InteractionQueryViT(arch, img_size=32, patch_size=8, init_cfg=pretrained)
    student.init_weights()
    expected = torch.load(published)['model']
    assert torch.equal(student.layers[1].attn.qkv.weight, expected['blocks.1.attn.qkv.weight'])

    lfi.convert_vit_checkpoint(ours, back, to='timm')
    found = load_file(back)
    assert found.keys() == expected.keys() - {'head.weight', 'head.bias'}
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_what_it_cannot_convert(tmp_path):
    path = tmp_path / 'resnet.pth'
    torch.save({'state_dict': {'layer1.0.conv1.weight': torch.zeros(1)}}, path)
    for target, to, words in (
        (tmp_path / 'x.pth', 'lfi', 'is not a ViT of timm, clip, vitdet'),
        (tmp_path / 'x.pth', 'timm', 'has no weights of InteractionQueryViT or an mmpretrain ViT'),
        (tmp_path / 'x.pth', 'dino', "to='dino' must be one of lfi, timm, clip, vitdet"),
        (path, 'lfi', 'would overwrite'),
        (tmp_path / 'x.pth', 'lfi', 'does not exist'),
    ):
        source = tmp_path / 'gone.pth' if 'exist' in words else path
        with pytest.raises(UsageError, match=words):
            lfi.convert_vit_checkpoint(source, target, to=to)
    assert [file.name for file in tmp_path.iterdir()] == ['resnet.pth']
