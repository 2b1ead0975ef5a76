"""`DualHead`, and predictions that mix both heads, or head and texts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from part_inputs import build, compare, features
from small_students import HEAD, batch, interactions, parts

DUAL_HEAD = dict(dual_head=dict(type='lfi.DualHead'))
BY_BOTH = dict(type='lfi.ByMixture', second=dict(type='lfi.ByDualHead'), weight=0.3, temperature=2.0)


def test_it_is_logit_kd_on_the_logits_of_its_own_head():
    part, kd = build('lfi.DualHead', temperature=3.0, loss_weight=0.5), build('lfi.LogitKD', temperature=3.0)
    student, teacher = features(8), features(6, seed=1)
    own = replace(student, scores=F.linear(student.pooled, part.head.weight, part.head.bias))
    expected = 0.5 * compare(kd, own, teacher)['loss_logits']
    torch.testing.assert_close(compare(part, student, teacher)['loss_dual_head'], expected)


def test_each_head_learns_from_its_own_source(make_classifier):
    model = make_classifier(supervision=DUAL_HEAD, std=0.1)
    second = model.parts['dual_head'].head
    losses = model.loss(*batch())
    for name, learns, does_not in (
        ('loss_dual_head', second.weight, model.head.fc.weight),
        ('loss_cls', model.head.fc.weight, second.weight),
    ):
        gradients = torch.autograd.grad(
            losses[name], [learns, does_not], retain_graph=True, allow_unused=True
        )
        assert gradients[0].abs().max() > 0 and gradients[1] is None


@pytest.mark.parametrize('control', ['OtherImage', 'MeanTarget'])
def test_controls_change_its_target(make_classifier, control):
    inputs = batch()
    losses = [
        make_classifier(supervision=DUAL_HEAD, std=0.1, control=kind).loss(*inputs)['loss_dual_head']
        for kind in (None, dict(type=f'lfi.{control}'))
    ]
    assert losses[0] != losses[1]


@pytest.mark.parametrize('head', [None, dict(HEAD, type='mmpretrain.MultiLabelLinearClsHead')])
def test_it_needs_a_head_of_one_label(make_classifier, head):
    with pytest.raises(ValueError, match='supervision.dual_head: lfi.DualHead (needs|compares)'):
        make_classifier(head=head, supervision=DUAL_HEAD)


def test_a_mixture_is_the_weighted_mean_of_probabilities(make_classifier):
    model = make_classifier(supervision=DUAL_HEAD, std=0.3, predict_by=BY_BOTH).eval()
    inputs, samples = batch()
    (vector,) = model.extract_feat(inputs)
    head, second = model.head.fc(vector), model.parts['dual_head'].head(vector)
    expected = 0.3 * head.softmax(-1) + 0.7 * (second / 2).softmax(-1)
    predicted = model.predict(inputs, samples)
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in predicted]), expected)
    torch.testing.assert_close(model(inputs).softmax(-1), expected)


@pytest.mark.parametrize('weight', [0, 1])
def test_all_weight_on_one_source_is_that_source(make_classifier, weight):
    mixture = dict(type='lfi.ByMixture', second=dict(type='lfi.ByTexts'), weight=weight)
    scores = []
    for predict_by in (mixture, None if weight else dict(type='lfi.ByTexts')):
        model = make_classifier(supervision=interactions(), std=0.3, predict_by=predict_by).eval()
        predicted = model.predict(*batch())
        scores.append(torch.stack([sample.pred_score for sample in predicted]))
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize(
    ('predict_by', 'message'),
    [
        (dict(type='lfi.ByDualHead'), 'needs a second head: add supervision.dual_head'),
        (dict(BY_BOTH), 'needs a second head: add supervision.dual_head'),
        (dict(BY_BOTH, weight=1.5), 'predict_by.weight=1.5 must be a number between 0 and 1'),
        (dict(BY_BOTH, temperature=0), 'temperature=0 must be a number above 0'),
        (dict(BY_BOTH, second=dict(type='lfi.ByHead')), 'predict_by.second'),
        (dict(BY_BOTH, second=dict(type='lfi.ByTexts', concepts=['a'])), 'names concepts of its own'),
    ],
)
def test_what_cannot_be_mixed_is_named(make_classifier, predict_by, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(supervision=parts('interactions'), predict_by=predict_by)
