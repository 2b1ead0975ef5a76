"""The converter of ViT checkpoints, run as a user runs it."""

import pytest
import torch
from lfi.models import InteractionQueryViT
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

TOOL = 'model_converters/vit_to_lfi.py'


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


def test_there_and_back(run_tool, published, tmp_path):
    ours, back = tmp_path / 'ours.pth', tmp_path / 'back.safetensors'
    output = run_tool(TOOL, published, ours)
    assert 'Left out: head.weight, head.bias' in output
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    pretrained = dict(type='Pretrained', checkpoint=str(ours))
    student = InteractionQueryViT(arch, img_size=32, patch_size=8, init_cfg=pretrained)
    student.init_weights()
    expected = torch.load(published)['model']
    assert torch.equal(student.layers[1].attn.qkv.weight, expected['blocks.1.attn.qkv.weight'])

    run_tool(TOOL, ours, back, '--to', 'timm')
    found = load_file(back)
    assert found.keys() == expected.keys() - {'head.weight', 'head.bias'}
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_what_it_cannot_convert(run_tool, tmp_path):
    path = tmp_path / 'resnet.pth'
    torch.save({'state_dict': {'layer1.0.conv1.weight': torch.zeros(1)}}, path)
    assert 'is no ViT of timm, clip, vitdet' in run_tool(TOOL, path, tmp_path / 'x.pth', code=1)
    assert 'would overwrite' in run_tool(TOOL, path, path, code=1)
