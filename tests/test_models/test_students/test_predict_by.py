"""`LFITextClassifier` predicts by the texts of the classes, and needs no label to learn."""

import copy

import pytest
import torch
from lfi.models import LFIImageClassifier, LFIZeroShotClassifier
from lfi.models.students.classifiers import TextPredictMixin
from lfi.models.students.classifiers.lfi_image_classifier import class_log_probabilities
from lfi.registry import MODELS
from mmpretrain.structures import DataSample

CLASSES = 4
# All that are trained: a zero-shot classifier is another's student.
BY_TEXT = sorted(
    f'lfi.{name}'
    for name, kind in MODELS.module_dict.items()
    if isinstance(kind, type) and issubclass(kind, TextPredictMixin) and kind is not LFIZeroShotClassifier
)
HEAD = dict(type='mmpretrain.LinearClsHead', num_classes=CLASSES, in_channels=16)


@pytest.fixture
def make_model(make_classifier):
    """A student whose teacher knows one concept more than the classes, and a background."""

    def make(kind='lfi.LFITextClassifier', head=HEAD, **changes):
        concepts = ['circle', 'square', 'star', 'ring', 'heart']
        return make_classifier(kind, head, concepts, std=0.2, **{'readout': dict(text_dims=24), **changes})

    return make


def batch(labels=(0, 3, 1), unlabelled=False, shape=(32, 32)):
    inputs = torch.randn(len(labels), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    samples = [DataSample(metainfo=dict(img_shape=shape)).set_gt_label(label) for label in labels]
    for sample in samples if unlabelled else ():
        sample.set_metainfo(dict(unlabelled=True))
        sample.set_gt_label(-1)
    return inputs, samples


def trained(model):
    assert model.teacher is not None  # Built as when training begins.
    return model


def scores_of(predictions):
    return torch.stack([sample.pred_score for sample in predictions])


@torch.no_grad()
def test_predictions_are_the_softmax_of_the_classes_presence(make_model):
    model = trained(make_model()).eval()
    inputs, samples = batch()
    presence = model.ask(inputs, model.teacher.texts).presence[:, :CLASSES]
    expected = torch.logit(presence.double()).softmax(1).float()
    found = model(inputs, samples, mode='predict')
    torch.testing.assert_close(scores_of(found), expected, rtol=1e-4, atol=1e-6)
    assert [sample.pred_label.item() for sample in found] == expected.argmax(1).tolist()
    torch.testing.assert_close(model(inputs).softmax(1), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scores_of(model.predict(inputs)), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_where_it_is_only_tested_the_text_tower_is_all_that_it_asks(make_model):
    inputs, samples = batch()
    model = make_model().eval()
    expected = scores_of(trained(make_model()).eval().predict(inputs, copy.deepcopy(samples)))
    torch.testing.assert_close(scores_of(model.predict(inputs, samples)), expected)
    assert model._teacher is None


@torch.no_grad()
def test_padding_has_no_say(make_model):
    model = make_model().eval()
    inputs, samples = batch(shape=(16, 32))
    with model.backbone.padded([(16, 32)] * 3):
        expected = model(inputs).softmax(1)
    torch.testing.assert_close(scores_of(model.predict(inputs, samples)), expected)
    assert not torch.allclose(scores_of(model.predict(inputs)), expected)


def test_it_is_trained_as_the_classifier_with_a_head_whose_checkpoints_it_reads(make_model):
    ours, theirs = make_model().train(), make_model('lfi.LFIImageClassifier').train()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    losses = [model.loss(*batch()) for model in (ours, theirs)]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        assert torch.equal(losses[0][name], losses[1][name]), name
    assert isinstance(ours, LFIImageClassifier) and not isinstance(theirs, TextPredictMixin)


@pytest.mark.parametrize('kind', BY_TEXT)
@pytest.mark.parametrize('logit_kd', [None, dict(loss_weight=2.0)])
def test_without_a_label_it_learns_and_every_parameter_has_a_gradient(make_model, kind, logit_kd, unlearnt):
    model = make_model(kind, logit_kd=logit_kd).train()
    losses = model.loss(*batch(unlabelled=True))
    assert losses['loss_cls'].item() == 0
    sum(losses.values()).backward()
    assert not unlearnt(model)
    assert not any(p.grad.any() for p in model.head.parameters())
    assert model.readout.question_head.weight.grad.any()


def test_logit_kd_reaches_the_scores_by_text(make_model):
    model = make_model(logit_kd=dict(loss_weight=2.0, temperature=1.0)).train()
    inputs, samples = batch(unlabelled=True)
    losses = model.loss(inputs, samples)
    maps = model.teacher.ask(model.teacher_batch(inputs, samples))[0]
    theirs = class_log_probabilities(maps, CLASSES, len(model.teacher.bank)).softmax(1)
    ours = model(inputs).softmax(1)
    expected = 2 * (theirs * (theirs / ours).log()).sum(1).mean()
    torch.testing.assert_close(losses['loss_logits'], expected, rtol=1e-4, atol=1e-6)
    losses['loss_logits'].backward()
    assert not [key for key, parameter in model.head.named_parameters() if parameter.grad is not None]
    assert model.readout.presence_head.weight.grad.any()


def test_the_control_learns_from_the_image_before(make_model):
    ours, control = make_model().train(), make_model('lfi.ShuffledImagesTextClassifier').train()
    inputs, samples = batch(unlabelled=True)
    own, others = (model._ask_teacher(inputs, samples) for model in (ours, control))
    torch.testing.assert_close(others.presence, own.presence.roll(1, 0))


def test_what_cannot_be_told_by_text_is_refused(make_model):
    with pytest.raises(ValueError, match=r'presence_weight=0, and LFITextClassifier predicts by presence'):
        trained(make_model(interaction_loss=dict(presence_weight=0)))


def test_the_mean_maps_leave_an_image_its_presence(make_model):
    ours, control = make_model().train(), make_model('lfi.MeanTargetTextClassifier').train()
    inputs, samples = batch(unlabelled=True)
    own, mean = (model._ask_teacher(inputs, samples) for model in (ours, control))
    torch.testing.assert_close(mean.presence, own.presence)
    labels = torch.zeros(len(inputs), own.logits.shape[2])
    own, mean = (model._read(maps, labels) for model, maps in ((ours, own), (control, mean)))
    torch.testing.assert_close(mean.presence, own.presence)
    # All images have one map of each concept.
    assert torch.equal(mean.positions[0], mean.positions[1])
    assert not torch.equal(own.over_positions(1.0)[0], own.over_positions(1.0)[1])
