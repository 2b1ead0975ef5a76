"""Segmentors learn their task from labelled images alone."""

import copy

import pytest
import torch
from lfi.models.students.tasks.segmentation import Segmentation, _blank_sample
from lfi.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

mmseg = pytest.importorskip('mmseg.structures', reason='mmsegmentation is not installed')

SIZE = (32, 32)
BACKBONE = dict(
    type='lfi.InteractionQueryViT',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
    with_cls_token=False,
    out_type='featmap',
)
HEAD = dict(type='FCNHead', in_channels=16, channels=16, num_convs=1, num_classes=4, dropout_ratio=0)
CASCADE = dict(
    task='mmseg.CascadeEncoderDecoder',
    num_stages=2,
    decode_head=[
        HEAD,
        dict(type='OCRHead', in_channels=16, channels=16, ocr_channels=8, num_classes=4, dropout_ratio=0),
    ],
)
BINARY = dict(num_classes=2, out_channels=1, threshold=0.5)
LOSS = dict(type='CrossEntropyLoss', use_sigmoid=True)
TASKS = {
    'softmax': dict(decode_head=HEAD),
    'cascade': CASCADE,
    'lovasz': dict(decode_head=dict(HEAD, loss_decode=dict(type='LovaszLoss', per_image=True))),
    'binary': dict(decode_head=dict(HEAD, **BINARY, loss_decode=LOSS)),
}


@pytest.fixture
def make():
    """`make(**options)` is a small segmentor without supervision parts, where nothing else is said."""
    init_default_scope('mmseg')

    def build(**options):
        torch.manual_seed(0)
        cfg = dict(type='lfi.Student', task='mmseg.EncoderDecoder', backbone=BACKBONE)
        return MODELS.build(ConfigDict(dict(cfg, **options))).train()

    return build


def sample(seed, unlabelled=False):
    found = mmseg.SegDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE))
    if unlabelled:
        found.set_metainfo(dict(unlabelled=True))
    else:
        classes = torch.randint(0, 2, (1, *SIZE), generator=torch.Generator().manual_seed(seed))
        found.gt_sem_seg = PixelData(data=classes)
    return found


def losses_of(model, inputs, samples):
    torch.manual_seed(0)
    losses = model(inputs, copy.deepcopy(samples), mode='loss')
    return {name: value for name, value in losses.items() if name.startswith('decode') and 'loss' in name}


@pytest.mark.parametrize('task', TASKS)
def test_images_without_labels_are_no_part_of_the_task(make, task):
    model = make(**TASKS[task]).eval()
    inputs = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    alone = losses_of(model, inputs[:1], [sample(0)])
    mixed = losses_of(model, inputs, [sample(0), sample(1, unlabelled=True)])
    assert alone and alone.keys() == mixed.keys()
    for name, value in alone.items():
        assert value > 0
        torch.testing.assert_close(mixed[name], value, rtol=1e-4, atol=1e-5)
    none = losses_of(model, inputs, [sample(0, unlabelled=True), sample(1, unlabelled=True)])
    assert none.keys() == alone.keys() and all(value == 0 for value in none.values())
    sum(none.values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_a_blank_sample_has_all_maps_that_heads_read():
    hidden = sample(0)
    hidden.set_metainfo(dict(unlabelled=True))
    hidden.set_data(dict(gt_edge_map=PixelData(data=torch.ones(1, *SIZE, dtype=torch.uint8))))
    blank = _blank_sample(hidden, torch.device('cpu'))
    assert not blank.gt_sem_seg.data.any() and not blank.gt_edge_map.data.any()
    assert blank.gt_edge_map.data.dtype == torch.uint8 and hidden.gt_edge_map.data.all()
    assert set(blank.keys()) == {'gt_sem_seg', 'gt_edge_map'}


def test_labels_are_the_classes_of_the_pixels_where_the_images_are():
    labels, device = Segmentation().labels, torch.device('meta')
    folder = mmseg.SegDataSample()
    beside = mmseg.SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, *SIZE, dtype=torch.long, device='meta'))
    )
    assert labels([folder, beside], 4, None, device).device.type == 'meta'
    classes = torch.tensor([[0, 2, 255, 5], [2, 2, 3, -1]])[None]
    found = mmseg.SegDataSample(gt_sem_seg=PixelData(data=classes))
    # What is ignored, beyond the classes, or beyond the bank, counts for nothing.
    for num_concepts, num_classes, expected in ((6, 5, [0, 2, 3]), (6, None, [0, 2, 3, 5]), (3, 5, [0, 2])):
        (row,) = labels([found], num_concepts, num_classes, torch.device('cpu'))
        assert row.nonzero().flatten().tolist() == expected and len(row) == num_concepts


def test_a_segmentor_learns_from_interactions_of_all_images(make, unlearnt, teacher_folder):
    teacher = dict(
        type='lfi.VLMAttentionTeacher',
        model=teacher_folder('vit'),
        extractor='maskclip',
        concepts=['sky', 'road', 'car', 'tree'],
    )
    part = dict(type='lfi.Interactions')
    pixels = dict(type='SegDataPreProcessor', mean=[100.0] * 3, std=[50.0] * 3, bgr_to_rgb=True)
    model = make(
        decode_head=HEAD, data_preprocessor=pixels, teacher=teacher, supervision=dict(interactions=part)
    )
    inputs = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    terms = {'loss_spatial', 'loss_semantic', 'loss_presence'}
    for samples in ([sample(0), sample(1)], [sample(0), sample(1, unlabelled=True)]):
        losses = model(inputs, copy.deepcopy(samples), mode='loss')
        assert terms < losses.keys()
        model.zero_grad()
        model.parse_losses(losses)[0].backward()
        assert not unlearnt(model)
    labels = model.concept_labels([sample(0), sample(1, unlabelled=True)], torch.device('cpu'))
    assert labels.tolist() == [[1, 1, 0, 0], [0] * 4]
