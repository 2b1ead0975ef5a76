"""Detectors learn their task from labelled images alone, and from interactions with all."""

import copy

import pytest
import torch
from lfi.models.students.detectors import ShuffledImagesMaskRCNN
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from small_detectors import prior_mask_rcnn, sample

SIZE = (64, 64)
BOXES = [[8, 8, 50, 60]]
INTERACTIONS = ('loss_positions', 'loss_concepts', 'loss_presence')


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
    for name in alone.keys() - set(INTERACTIONS):
        torch.testing.assert_close(mixed[name], alone[name], rtol=1e-5, atol=1e-6)
    everything = losses_of(detector, inputs, [labelled[0], sample(SIZE), labelled[1]])
    for name in INTERACTIONS:
        torch.testing.assert_close(mixed[name], everything[name], rtol=1e-5, atol=1e-6)
    # An image without instances and without the mark is a negative.
    assert abs(everything['loss_rpn_cls'] - alone['loss_rpn_cls']) > 1e-4


def test_what_is_annotated_of_an_unlabelled_image_is_not_known(detector):
    inputs = images(2)
    first = losses_of(detector, inputs, [sample(SIZE, BOXES, [1]), sample(SIZE, BOXES, [1], unlabelled=True)])
    second = losses_of(detector, inputs, [sample(SIZE, BOXES, [1]), sample(SIZE, unlabelled=True)])
    assert first == second


def test_nor_is_it_known_to_what_a_detector_is_compared_with(detector):
    init_default_scope('mmdet')
    control = ShuffledImagesMaskRCNN.__new__(ShuffledImagesMaskRCNN)
    control.__dict__ = detector.__dict__
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
    assert all(value == 0 for name, value in log.items() if name not in ('loss', *INTERACTIONS))
    assert all(log[name] > 0 for name in INTERACTIONS)
    total.backward()
    for name, parameter in detector.named_parameters():
        head = name.startswith(('rpn_head', 'roi_head', 'neck'))
        if parameter.requires_grad and head:
            assert parameter.grad is None or not parameter.grad.any(), name


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
    init_default_scope('mmdet')
    plain = prior_mask_rcnn()
    log = through_the_preprocessor(plain, [unannotated(), sample(SIZE, BOXES, [1])])
    assert log['loss_affinity'] > 0 and log['loss_rpn_cls'] > 0 and log['loss_mask'] > 0
    log = through_the_preprocessor(prior_mask_rcnn(), [unannotated(), unannotated()])
    assert log['loss_affinity'] > 0
    assert all(value == 0 for name, value in log.items() if name not in ('loss', 'loss_affinity'))


def test_without_annotations_labels_are_where_the_model_is(detector):
    labels = detector.to('meta').image_labels([unannotated(), unannotated()], 4)
    assert labels.device.type == 'meta'


def test_features_are_the_images_own_again_after_a_loss(detector):
    losses_of(detector, images(2), [sample(SIZE, BOXES, [1]), sample(SIZE, BOXES, [1], unlabelled=True)])
    assert len(detector.extract_feat(images(2))[0]) == 2


def test_presence_by_labels_alone_is_refused_where_an_image_has_none(make_detector):
    found = make_detector('mask_rcnn', reading=dict(presence='label'))
    samples = [sample(SIZE, BOXES, [1]), sample(SIZE, unlabelled=True)]
    with pytest.raises(ValueError, match="presence='label' .*no label: set reading.presence"):
        found.concept_labels(samples)
    # What captions speak of is known.
    samples[1].set_field(torch.tensor([2]), 'gt_concepts')
    assert found.concept_labels(samples).nonzero().tolist() == [[0, 1], [1, 2]]
