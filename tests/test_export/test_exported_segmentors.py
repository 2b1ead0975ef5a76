"""Segmentors as graphs give the classes that mmseg's own `predict` gives."""

import pytest
import torch
from lfi.export import (
    FLOAT16,
    FLOAT32,
    default_part,
    inference_graph,
    output_agreement,
    to_half,
    to_torch_export,
)
from lfi.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

SIZE = (32, 48)
BACKBONE = dict(
    type='lfi.InteractionQueryViT',
    arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
    num_queries=0,
    write_back='none',
    img_size=32,
    patch_size=8,
    with_cls_token=False,
    out_type='featmap',
)
NAMES = ['logits', 'labels']


def images(batch=2):
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def segmentor():
    """`segmentor(num_classes=5, out_channels=None)` is a small one with random weights."""
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    from mmseg.models import EncoderDecoder  # noqa: F401

    init_default_scope('mmseg')

    def build(num_classes=5, out_channels=None):
        head = dict(
            type='FCNHead',
            in_channels=16,
            channels=16,
            num_convs=1,
            num_classes=num_classes,
            out_channels=out_channels,
            threshold=0.5 if out_channels == 1 else None,
        )
        torch.manual_seed(0)
        cfg = dict(
            type='EncoderDecoder',
            backbone=BACKBONE,
            decode_head=head,
            test_cfg=dict(mode='whole'),
        )
        model = MODELS.build(ConfigDict(cfg)).eval()
        for parameter in model.decode_head.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model

    return build


@pytest.mark.parametrize(('num_classes', 'out_channels'), [(5, None), (2, 1)])
@torch.no_grad()
def test_classes_are_those_of_predict(segmentor, num_classes, out_channels):
    model = segmentor(num_classes, out_channels)
    assert default_part(model) == 'segmentor'
    graph, names = inference_graph(model, 'segmentor')
    logits, labels = graph(images())
    assert names == NAMES and logits.shape == (2, out_channels or 5, *SIZE)
    expected = torch.stack([sample.pred_sem_seg.data[0] for sample in model.predict(images())])
    assert torch.equal(labels, expected.long()) and len(labels.unique()) > 1


@torch.no_grad()
def test_exported_and_in_half_precision(segmentor):
    graph, _ = inference_graph(segmentor(), 'segmentor')
    exported = to_torch_export(graph, SIZE).module()
    assert output_agreement(NAMES, exported(images(3)), graph(images(3)), FLOAT32).holds
    assert output_agreement(NAMES, to_half(graph)(images()), graph(images()), FLOAT16).holds


def test_windows_are_refused(segmentor):
    model = segmentor()
    model.test_cfg.mode = 'slide'
    with pytest.raises(ValueError, match="needs whole images: set model.test_cfg.mode='whole'"):
        inference_graph(model, 'segmentor')
