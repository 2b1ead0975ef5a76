"""Detectors learn their task from labelled images alone, and from interactions with all."""

import copy

import pytest
import torch
from lfi.models.detectors import LFIMaskRCNN
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

SIZE = (64, 64)
INTERACTIONS = ('loss_positions', 'loss_concepts', 'loss_presence')


@pytest.fixture
def detector(teacher_folder):
    init_default_scope('mmdet')
    cfg = get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').model
    cfg.backbone = dict(
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=64,
        patch_size=16,
        with_cls_token=False,
        out_type='featmap',
    )
    cfg.neck = dict(type='lfi.SimpleFPN', in_channels=16)
    del cfg['type']
    teacher = dict(
        type='lfi.VLMAttentionTeacher',
        model=teacher_folder('vit'),
        extractor='maskclip',
        concepts=['cat', 'dog', 'tree', 'car'],
        max_concepts=3,
    )
    torch.manual_seed(0)
    built = LFIMaskRCNN(**cfg, teacher=teacher)
    # Building it draws random numbers.
    _ = built.teacher
    return built


def sample(boxes=((8.0, 8.0, 50.0, 60.0),), labels=(1,), **metainfo):
    found = DetDataSample(
        metainfo=dict(
            img_shape=SIZE,
            ori_shape=SIZE,
            pad_shape=SIZE,
            batch_input_shape=SIZE,
            scale_factor=(1.0, 1.0),
            **metainfo,
        )
    )
    found.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes).view(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        masks=BitmapMasks(torch.ones(len(boxes), *SIZE, dtype=torch.uint8).numpy(), *SIZE),
    )
    found.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return found


def images(n):
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch.Generator().manual_seed(3)).float()


def losses_of(detector, inputs, samples):
    torch.manual_seed(0)
    losses = detector.train()(inputs, copy.deepcopy(samples), mode='loss')
    return {name: detector.parse_losses({name: value})[1][name] for name, value in losses.items()}


def test_the_task_learns_from_labelled_images_and_interactions_from_all(detector):
    inputs, labelled = images(3), [sample(), sample(((4.0, 4.0, 30.0, 30.0),), (2,))]
    mixed = losses_of(detector, inputs, [labelled[0], sample(unlabelled=True), labelled[1]])
    alone = losses_of(detector, inputs[[0, 2]], labelled)
    for name in alone.keys() - set(INTERACTIONS):
        torch.testing.assert_close(mixed[name], alone[name], rtol=1e-5, atol=1e-6)
    everything = losses_of(detector, inputs, [labelled[0], sample((), ()), labelled[1]])
    for name in INTERACTIONS:
        torch.testing.assert_close(mixed[name], everything[name], rtol=1e-5, atol=1e-6)
    # An image without instances and without the mark is a negative.
    assert abs(everything['loss_rpn_cls'] - alone['loss_rpn_cls']) > 1e-4


def test_what_is_annotated_of_an_unlabelled_image_is_not_known(detector):
    inputs = images(2)
    first = losses_of(detector, inputs, [sample(), sample(unlabelled=True)])
    second = losses_of(detector, inputs, [sample(), sample((), (), unlabelled=True)])
    assert first == second


def test_a_batch_without_any_label_moves_no_head(detector):
    inputs, samples = images(2), [sample((), (), unlabelled=True), sample((), (), unlabelled=True)]
    losses = detector.train()(inputs, samples, mode='loss')
    total, log = detector.parse_losses(losses)
    assert all(value == 0 for name, value in log.items() if name not in ('loss', *INTERACTIONS))
    assert all(log[name] > 0 for name in INTERACTIONS)
    total.backward()
    for name, parameter in detector.named_parameters():
        head = name.startswith(('rpn_head', 'roi_head', 'neck'))
        if parameter.requires_grad and head:
            assert parameter.grad is None or not parameter.grad.any(), name


def test_features_are_the_images_own_again_after_a_loss(detector):
    losses_of(detector, images(2), [sample(), sample(unlabelled=True)])
    assert len(detector.extract_feat(images(2))[0]) == 2
