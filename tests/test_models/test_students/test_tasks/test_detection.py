"""Detectors of mmdet: they learn their task from labelled images, and from the teacher with all."""

import copy

import pytest
import torch
from lfi.models.students.tasks.detection import Detection, register_annotation_emptying
from lfi.registry import MODELS
from mmdet.models import DetDataPreprocessor
from mmengine.hub import get_config
from mmengine.structures import InstanceData, PixelData
from small_detectors import (
    CASES,
    INTERACTIONS,
    NAMES,
    PRIOR,
    few_proposals,
    prior_mask_rcnn,
    sample,
    student_config,
)

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
    interactions = {'loss_spatial', 'loss_semantic', 'loss_presence'}
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
        with detector.backbone.hide_padding([(64, 48), (64, 64)]):
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
    method, changed = (
        make_detector('mask_rcnn', control=control).train() for control in (None, dict(type='lfi.OtherImage'))
    )
    data = method.data_preprocessor(ordinary(), training=True)
    batch = method.batch_of(data['inputs'], data['data_samples'])
    theirs, others = (model.part_targets(batch)['interactions'] for model in (method, changed))
    assert torch.equal(others.logits, theirs.logits.roll(1, 0))
    assert torch.equal(others.concepts, theirs.concepts.roll(1, 0))
    # What it is measured by are the image's own.
    assert torch.equal(changed.eval().part_targets(batch)['interactions'].logits, theirs.logits)


@pytest.mark.parametrize('part', ['affinity', 'dense_features'])
def test_a_detector_copies_features_beside_its_task(make_detector, unlearnt, part):
    kinds = dict(affinity='lfi.PairwiseAffinity', dense_features='lfi.DenseFeatures')
    model = make_detector('retinanet', supervision={part: dict(type=kinds[part])}).train()
    data = model.data_preprocessor(batch(sample((64, 64)), sample((64, 64), [[0, 0, 64, 64]], [0])), True)
    model.parse_losses(model(**data, mode='loss'))[0].backward()
    assert not unlearnt(model)
    with pytest.raises(ValueError, match='an image of 64 x 48 pixels is padded to 64 x 64'):
        model(**model.data_preprocessor(ordinary(), training=True), mode='loss')


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
        cfg.type, cfg.task = 'lfi.Student', f'mmdet.{plain.type}'
        cfg.supervision = dict(interactions=INTERACTIONS)
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
    assert {'loss_spatial', 'loss_semantic', 'loss_presence'} < losses.keys()
    detector.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)
    own = [key for key in detector.state_dict() if '.interaction.' not in key and key[:7] != 'readout']
    assert own == list(MODELS.build(dict(plain, _scope_='mmdet')).state_dict())
    added = sum(p.numel() for p in detector.backbone.interaction.parameters())
    assert added < 0.03 * sum(p.numel() for p in detector.parameters())


@pytest.mark.parametrize(
    ('name', 'kind', 'lacking'),
    [('logit_kd', 'LogitKD', 'scores'), ('mse', 'FeatureMSE', 'vector'), ('lt', 'LightlyTrain', 'vector')],
)
def test_what_reads_one_vector_an_image_is_refused(make_detector, name, kind, lacking):
    message = (
        f"^supervision.{name}.type={kind} reads the image's {lacking}, which .*: set supervision.{name}=None$"
    )
    with pytest.raises(ValueError, match=message):
        make_detector('retinanet', supervision={name: dict(type=f'lfi.{kind}')})


def test_a_detector_has_the_prior_without_a_teacher(unlearnt):
    model = prior_mask_rcnn().train()
    losses = model(**model.data_preprocessor(ordinary(), training=True), mode='loss')
    assert 'loss_prior' in losses
    model.parse_losses(losses)[0].backward()
    assert not unlearnt(model)
    assert not any(name.startswith(('readout', 'supervision')) for name in model.state_dict())


def test_the_prior_trains_all_that_it_adds_to_a_backbone_of_another_kind(make_adapted):
    _, plain = make_adapted('mask_rcnn')
    cfg = dict(plain, type='lfi.Student', task='mmdet.MaskRCNN', supervision=PRIOR)
    cfg['backbone'] = dict(type='lfi.InteractionQueryAdapter', backbone=plain.backbone, query_dims=64)
    detector = MODELS.build(cfg)
    detector.parse_losses(detector(**detector.data_preprocessor(ordinary(), training=True), mode='loss'))[
        0
    ].backward()
    trained = {name for name, p in detector.named_parameters() if p.requires_grad}
    assert {name for name, p in detector.named_parameters() if p.grad is not None} == trained
    assert any('project_map' in name for name in trained) and not any('.attn.' in name for name in trained)


# ---- Images without a label ------------------------------------------------------------------------------

SIZE = (64, 64)
BOXES = [[8, 8, 50, 60]]
TERMS = ('loss_spatial', 'loss_semantic', 'loss_presence')


@pytest.fixture
def detector(make_detector):
    built = make_detector('mask_rcnn')
    # Building it draws random numbers.
    _ = built.teacher
    return built


def images(n):
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch.Generator().manual_seed(3)).float()


def losses_of(detector, inputs, samples):
    torch.manual_seed(0)
    losses = detector.train()(inputs, copy.deepcopy(samples), mode='loss')
    return {name: detector.parse_losses({name: value})[1][name] for name, value in losses.items()}


def test_the_task_learns_from_labelled_images_and_interactions_from_all(detector):
    inputs, labelled = images(3), [sample(SIZE, BOXES, [1]), sample(SIZE, [[4, 4, 30, 30]], [2])]
    mixed = losses_of(detector, inputs, [labelled[0], sample(SIZE, BOXES, [1], unlabelled=True), labelled[1]])
    alone = losses_of(detector, inputs[[0, 2]], labelled)
    for name in alone.keys() - set(TERMS):
        torch.testing.assert_close(mixed[name], alone[name], rtol=1e-5, atol=1e-6)
    everything = losses_of(detector, inputs, [labelled[0], sample(SIZE), labelled[1]])
    for name in TERMS:
        torch.testing.assert_close(mixed[name], everything[name], rtol=1e-5, atol=1e-6)
    # An image without instances and without the mark is a negative.
    assert abs(everything['loss_rpn_cls'] - alone['loss_rpn_cls']) > 1e-4


def test_what_is_annotated_of_an_unlabelled_image_is_not_known(detector):
    inputs = images(2)
    first = losses_of(detector, inputs, [sample(SIZE, BOXES, [1]), sample(SIZE, BOXES, [1], unlabelled=True)])
    second = losses_of(detector, inputs, [sample(SIZE, BOXES, [1]), sample(SIZE, unlabelled=True)])
    assert first == second


def test_nor_is_it_known_to_what_a_detector_is_compared_with(make_detector):
    control = make_detector('mask_rcnn', control=dict(type='lfi.OtherImage'))
    _ = control.teacher
    for compared in (prior_mask_rcnn(), control):
        first, second, other = (
            losses_of(compared, images(2), [sample(SIZE, BOXES, [label]), unlabelled])
            for label, unlabelled in (
                (1, sample(SIZE, BOXES, [1], unlabelled=True)),
                (1, sample(SIZE, unlabelled=True)),
                (2, sample(SIZE, unlabelled=True)),
            )
        )
        assert first == second != other


def test_a_batch_without_any_label_moves_no_head(detector):
    inputs, samples = images(2), [sample(SIZE, unlabelled=True), sample(SIZE, unlabelled=True)]
    losses = detector.train()(inputs, samples, mode='loss')
    total, log = detector.parse_losses(losses)
    assert all(value == 0 for name, value in log.items() if name not in ('loss', *TERMS))
    assert all(log[name] > 0 for name in TERMS)
    total.backward()
    for name, parameter in detector.named_parameters():
        head = name.startswith(('rpn_head', 'roi_head', 'neck'))
        if parameter.requires_grad and head:
            assert parameter.grad is None or not parameter.grad.any(), name


def ghm_retinanet():
    cfg = student_config('retinanet', dict(supervision=PRIOR))
    cfg.bbox_head.loss_cls = dict(type='GHMC', bins=30, momentum=0.75)
    cfg.bbox_head.loss_bbox = dict(type='GHMR', mu=0.02, bins=10, momentum=0.7)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def dynamic_rcnn():
    cfg = student_config('faster_rcnn', dict(supervision=PRIOR))
    cfg.roi_head.type = 'DynamicRoIHead'
    cfg.roi_head.bbox_head.loss_bbox = dict(type='SmoothL1Loss', beta=1.0)
    cfg.train_cfg.rcnn.dynamic_rcnn = dict(
        iou_topk=75, beta_topk=10, update_iter_interval=2, initial_iou=0.4, initial_beta=1.0
    )
    torch.manual_seed(0)
    return MODELS.build(cfg)


def statistics(detector):
    """Buffers of the heads, and the numbers that Dynamic R-CNN learns."""
    found = {name: buffer.clone() for name, buffer in detector.named_buffers() if '_head.' in name}
    head = getattr(detector, 'roi_head', None)
    if head is not None:
        numbers = [*head.iou_history, 0, *head.beta_history, 0, head.bbox_assigner.pos_iou_thr]
        found['dynamic'] = torch.tensor(numbers)
    return found


@pytest.mark.parametrize('make', [ghm_retinanet, dynamic_rcnn])
def test_a_batch_without_any_label_leaves_statistics_of_heads_and_losses(make):
    model = make()
    held = dict(model.named_buffers())
    known = [sample(SIZE, BOXES, [1]), sample(SIZE, [[4, 4, 30, 30]], [2])]
    losses_of(model, images(2), known)
    before = statistics(model)
    # DDP needs a gradient for each parameter of the heads.
    losses = model.train()(images(2), [sample(SIZE, unlabelled=True) for _ in known], mode='loss')
    model.parse_losses(losses)[0].backward()
    heads = [(name, p) for name, p in model.named_parameters() if '_head.' in name and p.requires_grad]
    assert heads and all(p.grad is not None and not p.grad.any() for _, p in heads)
    after = statistics(model)
    assert before.keys() == after.keys() and all(after[name].equal(before[name]) for name in before)
    # DDP synchronises the buffers that it found when it was built.
    assert all(buffer is held[name] for name, buffer in model.named_buffers())
    # A labelled batch still counts.
    losses_of(model, images(2), known)
    assert not all(value.equal(before[name]) for name, value in statistics(model).items())


def test_features_of_several_rows_an_image_are_refused_by_name():
    cfg = get_config('mmdet::tridentnet/tridentnet_r50-caffe_1x_coco.py').model
    cfg.backbone.init_cfg = None
    few_proposals(cfg)
    cfg.backbone = dict(type='lfi.InteractionQueryAdapter', backbone=cfg.backbone, query_dims=16, num_heads=2)
    cfg.update(type='lfi.Student', task='mmdet.TridentFasterRCNN', supervision=PRIOR)
    model = MODELS.build(cfg)
    for block in model.backbone.layer3:
        torch.nn.init.kaiming_normal_(block.conv2.weight)  # uninitialized memory in mmdet
    known, hidden = sample(SIZE, BOXES, [1]), sample(SIZE, unlabelled=True)
    with pytest.raises(ValueError, match='TridentResNet gives features of 6 rows for 2 images, .* backbone'):
        losses_of(model, images(2), [known, hidden])
    assert losses_of(model, images(2), [known, known])['loss_rpn_cls'] > 0


def through_the_preprocessor(detector, samples):
    """Losses of what a pipeline gives; where it reads no annotations an image has no fields of instances."""
    inputs = [image.byte() for image in images(len(samples))]
    data = detector.data_preprocessor(dict(inputs=inputs, data_samples=copy.deepcopy(samples)), True)
    losses = detector.train()(**data, mode='loss')
    total, log = detector.parse_losses(losses)
    total.backward()
    return log


def unannotated():
    found = sample(SIZE, unlabelled=True)
    found.gt_instances, found.ignored_instances = InstanceData(), InstanceData()
    return found


@pytest.mark.parametrize('place', [0, 1])
def test_an_image_of_a_folder_may_stand_anywhere_in_a_batch(detector, place):
    samples = [sample(SIZE, BOXES, [1]), sample(SIZE, [[4, 4, 30, 30]], [2])]
    torch.manual_seed(0)
    annotated = [*samples[:place], sample(SIZE, unlabelled=True), *samples[place:]]
    expected = through_the_preprocessor(detector, annotated)
    annotated[place] = unannotated()
    torch.manual_seed(0)
    assert through_the_preprocessor(detector, annotated) == expected


def test_a_detector_without_a_teacher_takes_images_of_a_folder_too():
    """The reference of a study of few boxes: without a teacher, and so without interactions."""
    plain = prior_mask_rcnn()
    log = through_the_preprocessor(plain, [unannotated(), sample(SIZE, BOXES, [1])])
    assert log['loss_prior'] > 0 and log['loss_rpn_cls'] > 0 and log['loss_mask'] > 0
    log = through_the_preprocessor(prior_mask_rcnn(), [unannotated(), unannotated()])
    assert log['loss_prior'] > 0
    assert all(value == 0 for name, value in log.items() if name not in ('loss', 'loss_prior'))


def test_without_annotations_labels_are_where_the_images_are():
    labels = Detection().labels([unannotated(), unannotated()], 4, None, torch.device('meta'))
    assert labels.device.type == 'meta' and labels.shape == (2, 4)


def test_features_are_the_images_own_again_after_a_loss(detector):
    losses_of(detector, images(2), [sample(SIZE, BOXES, [1]), sample(SIZE, BOXES, [1], unlabelled=True)])
    assert len(detector.extract_feat(images(2))[0]) == 2


def test_presence_by_labels_alone_is_refused_where_an_image_has_none(make_detector):
    part = dict(INTERACTIONS, reading=dict(presence='label'))
    found, device = make_detector('mask_rcnn', supervision=dict(interactions=part)), torch.device('cpu')
    samples = [sample(SIZE, BOXES, [1]), sample(SIZE, unlabelled=True)]
    with pytest.raises(ValueError, match="presence='label' .*no label: set supervision.interactions.reading"):
        found.concept_labels(samples, device)
    # What captions speak of is known.
    samples[1].set_field(torch.tensor([2]), 'gt_concepts')
    assert found.concept_labels(samples, device).nonzero().tolist() == [[0, 1], [1, 2]]


def panoptic(vlm):
    """A small Panoptic FPN of 2 things and 2 stuff, whose presence comes from labels alone."""
    cfg = get_config('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py').model
    small = student_config('mask_rcnn', {})
    small.roi_head.bbox_head.num_classes = small.roi_head.mask_head.num_classes = 2
    classes = dict(num_things_classes=2, num_stuff_classes=2)
    cfg.backbone, cfg.neck, cfg.roi_head = small.backbone, small.neck, small.roi_head
    cfg.semantic_head.update(classes)
    cfg.panoptic_fusion_head.update(classes)
    cfg.update(
        type='lfi.Student',
        task='mmdet.PanopticFPN',
        teacher=dict(
            type='lfi.VLMAttentionTeacher', model=vlm, extractor='maskclip', concepts=[*NAMES, 'sky']
        ),
        supervision=dict(interactions=dict(INTERACTIONS, reading=dict(presence='label'))),
    )
    return MODELS.build(cfg)


def with_map(found, pixels):
    found.gt_sem_seg = PixelData(sem_seg=pixels[None])
    return found


def test_a_panoptic_model_knows_the_stuff_of_an_image(teacher_folder):
    """The map has things too; 255 is unknown, and 4 is the bank's but no class."""
    pixels = torch.full((64, 64), 255)
    pixels[4:40, 4:40], pixels[50:, :], pixels[0, 0] = 0, 3, 4
    samples = [
        with_map(sample((64, 64), [[4, 4, 40, 40]], [0]), pixels),
        with_map(sample((64, 64)), torch.full((64, 64), 2)),
        sample((64, 64), [[4, 4, 40, 40]], [1]),
    ]
    model = panoptic(teacher_folder('vit')).train()
    batch = model.batch_of(images(3), samples)
    assert [row.nonzero().flatten().tolist() for row in batch.labels] == [[0, 3], [2], [1]]
    assert torch.equal(model.part_targets(batch)['interactions'].presence, batch.labels)


@pytest.mark.parametrize('dtype', [torch.int32, torch.uint8])
def test_maps_have_the_dtype_of_the_loader(teacher_folder, dtype):
    """mmdet's `LoadPanopticAnnotations` makes int32, and its `LoadAnnotations` uint8."""
    pixels = torch.tensor([[0, 3], [255, 3]], dtype=dtype)
    model = panoptic(teacher_folder('vit'))
    labels = model.concept_labels([with_map(sample((2, 2)), pixels)], torch.device('cpu'))
    assert labels.nonzero().tolist() == [[0, 0], [0, 3]]


def test_the_map_of_another_detector_has_other_classes(detector):
    """HTC's are COCO-Stuff's."""
    found = with_map(sample(SIZE, BOXES, [1]), torch.full(SIZE, 2))
    assert detector.concept_labels([found], torch.device('cpu')).nonzero().tolist() == [[0, 1]]


def test_what_only_a_crowd_shows_is_present(make_detector):
    part = dict(INTERACTIONS, reading=dict(presence='label'))
    model = make_detector('mask_rcnn', supervision=dict(interactions=part)).train()
    samples = [sample(SIZE, BOXES, [1]), sample(SIZE, ignored=BOXES), sample(SIZE, BOXES, [1], ignored=BOXES)]
    samples[1].ignored_instances.labels = torch.tensor([3])
    samples[2].ignored_instances.labels = torch.tensor([1])
    batch = model.batch_of(images(3), samples)
    maps = model.part_targets(batch)['interactions']
    asked = zip(maps.concepts.tolist(), maps.presence.tolist())
    shown = [{c for c, value in zip(*row) if value == 1} for row in asked]
    assert shown == [{1}, {3}, {1}]
    assert set(maps.presence.flatten().tolist()) == {0, 1}


# ---- Their annotations: empty ones of the kinds that the others have ---------------------------------------

SMALL = (48, 64)


def preprocessor(**options):
    module = DetDataPreprocessor(mean=[0] * 3, std=[1] * 3, pad_mask=True, pad_size_divisor=32, **options)
    register_annotation_emptying(module)
    return module


def preprocessed(module, samples):
    images = [torch.zeros(3, *SMALL, dtype=torch.uint8)] * len(samples)
    return module(dict(inputs=images, data_samples=samples), True)['data_samples']


def labelled(**annotations):
    found = sample(SMALL, [[8, 8, 40, 40]], [1])
    for name, value in annotations.items():
        setattr(found, name, value)
    return found


def unlabelled():
    found = sample(SMALL, unlabelled=True)
    del found.gt_instances, found.ignored_instances
    return found


def test_the_first_batch_may_hold_no_label():
    module = preprocessor()
    for first in preprocessed(module, [unlabelled(), unlabelled()]):
        assert len(first.gt_instances) == len(first.gt_instances.masks) == 0
        assert 'gt_sem_seg' not in first
    # A later image tells that there are no masks.
    boxes = labelled()
    del boxes.gt_instances.masks
    assert 'masks' not in preprocessed(module, [unlabelled(), boxes])[0].gt_instances


@pytest.mark.parametrize('hidden', [(0,), (1,), (0, 1)])
def test_a_map_of_classes_is_blank_where_the_others_have_one(hidden):
    module = preprocessor(pad_seg=True)
    map_of = PixelData(sem_seg=torch.ones(1, *SMALL, dtype=torch.long))
    samples = [unlabelled() if row in hidden else labelled(gt_sem_seg=map_of.clone()) for row in range(2)]
    for row, found in enumerate(preprocessed(module, samples)):
        seen = found.gt_sem_seg.sem_seg
        assert seen.shape == (1, 64, 64)
        assert (seen[:, : SMALL[0]] == (0 if row in hidden else 1)).all()
        assert (seen[:, SMALL[0] :] == 255).all()
