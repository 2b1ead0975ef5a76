"""Detectors of mmdet learn from interactions by the mixin alone."""

import copy
import pickle

import pytest
import torch
from lfi.models.students.detectors import LFIMaskRCNN, ShuffledImagesMaskRCNN
from lfi.registry import MODELS
from mmengine.hub import get_config
from small_detectors import CASES, NAMES, few_proposals, prior_mask_rcnn, sample

pytestmark = pytest.mark.usefixtures('mmdet_scope')


def batch(*samples):
    images = [torch.randint(0, 256, (3, *s.img_shape), dtype=torch.uint8) for s in samples]
    return dict(inputs=images, data_samples=list(samples))


def ordinary():
    return batch(
        sample((64, 48), [[4, 4, 40, 40], [10, 20, 30, 60]], [1, 3]), sample((64, 64), [[0, 0, 64, 64]], [0])
    )


@pytest.mark.parametrize('name', CASES)
def test_a_detector_trains_and_predicts(make_detector, name):
    detector = make_detector(name)
    data = detector.data_preprocessor(ordinary(), training=True)
    losses = detector.train()(**data, mode='loss')
    interactions = {'loss_positions', 'loss_concepts', 'loss_presence'}
    assert interactions < set(losses)
    total, log = detector.parse_losses(losses)
    assert all(value.isfinite().all() for value in log.values())
    total.backward()
    assert detector.readout.question_head.weight.grad.abs().sum() > 0
    with torch.no_grad():
        results = detector.eval()(**data, mode='predict')
    assert [result.pred_instances.bboxes.shape[1] for result in results] == [4, 4]
    assert not any('teacher' in key or 'visual' in key for key in detector.state_dict())


@pytest.mark.parametrize('name', ['mask_rcnn', 'retinanet'])
def test_the_detectors_own_losses_are_untouched(make_detector, name):
    detector = make_detector(name)
    plain = next(c for c in type(detector).__mro__ if c.__module__.startswith('mmdet.'))
    data = detector.data_preprocessor(ordinary(), training=True)
    # Building a teacher draws random numbers.
    assert detector.teacher
    outcomes = []
    for loss in (type(detector).loss, plain.loss):
        torch.manual_seed(1)
        with detector.backbone.padded([(64, 48), (64, 64)]):
            outcomes.append(loss(detector, data['inputs'], data['data_samples']))
    for key, value in outcomes[1].items():
        torch.testing.assert_close(outcomes[0][key], value)


@pytest.mark.parametrize(
    'samples',
    [
        [sample((64, 64)), sample((64, 64))],
        [sample((64, 64), ignored=[[5, 5, 50, 50]]), sample((64, 64), [[3, 3, 20, 20]], [2])],
        [sample((64, 64), [[7, 7, 8, 8]], [1])],
        [sample((64, 64), [[3, 3, 20, 20], [5, 5, 50, 50]], [2, 70])],
        [sample((64, 4), [[0, 3, 4, 40]], [1]), sample((3, 64), [[3, 0, 40, 3]], [0])],
    ],
    ids=['no annotation', 'only a crowd', 'one pixel', 'category beyond the bank', 'extreme ratio'],
)
def test_odd_images_train_without_nan(make_detector, samples):
    detector = make_detector('mask_rcnn')
    data = detector.data_preprocessor(batch(*samples), training=True)
    total, log = detector.parse_losses(detector.train()(**data, mode='loss'))
    assert all(value.isfinite().all() for value in log.values())
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())


def test_a_negative_control_learns_from_the_maps_of_another_image(make_detector):
    method = make_detector('mask_rcnn').train()
    control = ShuffledImagesMaskRCNN.__new__(ShuffledImagesMaskRCNN)
    control.__dict__ = method.__dict__
    data = method.data_preprocessor(ordinary(), training=True)
    inputs, samples = data['inputs'], data['data_samples']
    theirs, _ = method._teacher_maps(inputs, samples)
    changed, _ = control._teacher_maps(inputs, samples)
    assert torch.equal(changed.logits, theirs.logits.roll(1, 0))
    assert torch.equal(changed.concepts, theirs.concepts.roll(1, 0))
    # What it is measured by are the image's own.
    control.eval()
    assert torch.equal(control._teacher_maps(inputs, samples)[0].logits, theirs.logits)


def test_it_is_found_by_name_and_needs_no_mmdet_before():
    assert MODELS.get('lfi.LFIMaskRCNN') is LFIMaskRCNN


# ---- mmdet's own backbones --------------------------------------------------------------------------

TASKS = {
    'mask_rcnn': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'rtmdet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'conditional_detr': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
}


@pytest.fixture
def make_adapted(teacher_folder):
    """An LFI detector with the backbone, and the weights' names, of mmdet's own config; and that detector."""

    def make(name):
        plain = get_config(f'mmdet::{TASKS[name]}').model
        plain.backbone.init_cfg = None
        if 'roi_head' in plain:
            few_proposals(plain)
        cfg = copy.deepcopy(plain)
        cfg.type, cfg.task = 'lfi.LFIDetector', f'mmdet.{plain.type}'
        cfg.backbone = dict(type='lfi.InteractionQueryAdapter', backbone=plain.backbone, query_dims=64)
        cfg.teacher = dict(
            type='lfi.VLMAttentionTeacher',
            model=teacher_folder('vit'),
            extractor='maskclip',
            concepts=NAMES,
            max_concepts=3,
        )
        torch.manual_seed(0)
        return MODELS.build(cfg), plain

    return make


@pytest.mark.parametrize('name', TASKS)
def test_a_detector_with_its_own_backbone_learns_from_interactions(make_adapted, name):
    detector, plain = make_adapted(name)
    samples = [sample((128, 128), [(8, 8, 90, 100)], [1]), sample((128, 96), [(4, 4, 60, 60)], [2])]
    for each in samples:
        each.set_metainfo(dict(batch_input_shape=(128, 128)))
        if name != 'mask_rcnn':
            del each.gt_instances.masks
    inputs = [torch.randint(0, 256, (3, *each.img_shape), dtype=torch.uint8) for each in samples]
    data = detector.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    losses = detector.train()(**data, mode='loss')
    assert {'loss_positions', 'loss_concepts', 'loss_presence'} < losses.keys()
    detector.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)
    own = [key for key in detector.state_dict() if '.interaction.' not in key and key[:7] != 'readout']
    assert own == list(MODELS.build(dict(plain, _scope_='mmdet')).state_dict())
    added = sum(p.numel() for p in detector.backbone.interaction.parameters())
    assert added < 0.03 * sum(p.numel() for p in detector.parameters())


def test_any_detector_has_the_prior_without_a_teacher():
    named, ours = prior_mask_rcnn(type='lfi.PriorDetector', task='mmdet.MaskRCNN'), prior_mask_rcnn()
    data = ours.data_preprocessor(ordinary(), training=True)
    losses = []
    for detector in (named, ours):
        torch.manual_seed(1)
        losses.append(detector.train()(**data, mode='loss'))
    assert 'loss_affinity' in losses[0] and losses[0].keys() == losses[1].keys()
    for name, value in losses[1].items():
        torch.testing.assert_close(losses[0][name], value)
    named.parse_losses(losses[0])[0].backward()
    assert all(p.grad is not None for p in named.parameters() if p.requires_grad)
    assert type(named).__name__ == 'PriorMaskRCNN' and named.state_dict().keys() == ours.state_dict().keys()


@pytest.mark.parametrize('again', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_of_any_task_is_copied_and_goes_through_pickle(again):
    model = prior_mask_rcnn(type='lfi.PriorDetector', task='mmdet.MaskRCNN')
    copied = again(model)
    assert type(copied) is type(model) and copied.backbone is not model.backbone
    weights = copied.state_dict()
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())


def test_a_copy_of_a_compiled_model_has_its_own_weights():
    model = prior_mask_rcnn(type='lfi.PriorDetector', task='mmdet.MaskRCNN')
    model.compile(backend='eager')
    assert copy.deepcopy(model)._compiled_call_impl is None
    pickle.dumps(model)


def test_the_prior_trains_all_that_it_adds_to_a_backbone_of_another_kind(make_adapted):
    _, plain = make_adapted('mask_rcnn')
    cfg = dict(plain, type='lfi.PriorDetector', task='mmdet.MaskRCNN', affinity_prior=dict())
    cfg['backbone'] = dict(type='lfi.InteractionQueryAdapter', backbone=plain.backbone, query_dims=64)
    detector = MODELS.build(cfg)
    detector.parse_losses(detector(**detector.data_preprocessor(ordinary(), training=True), mode='loss'))[
        0
    ].backward()
    trained = {name for name, p in detector.named_parameters() if p.requires_grad}
    assert {name for name, p in detector.named_parameters() if p.grad is not None} == trained
    assert any('project_map' in name for name in trained) and not any('.attn.' in name for name in trained)


def test_a_task_that_is_none_is_refused():
    with pytest.raises(ValueError, match="task='mmdet.Nothing' is not a registered model"):
        MODELS.build(dict(type='lfi.LFIDetector', task='mmdet.Nothing'))
    with pytest.raises(ValueError, match='has a DetectorDistillMixin already'):
        MODELS.build(dict(type='lfi.LFIDetector', task='lfi.LFIMaskRCNN'))
