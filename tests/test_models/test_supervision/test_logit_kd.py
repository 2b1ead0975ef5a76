"""`LogitKD` against Hinton's formula, and the teachers that it takes."""

import math
from types import SimpleNamespace

import pytest
import torch
from lfi.concepts import ConceptBank
from part_inputs import build, compare, features, outputs_of, read
from small_students import PARTS, parts

BANK = ConceptBank(tuple('abcdefgh'), ('{}',), torch.eye(8), num_background=1)
CONCEPTS = 7


def probabilities(row, temperature=2.0):
    weights = [math.exp(x / temperature) for x in row]
    return [x / sum(weights) for x in weights]


def test_it_is_hintons():
    student, teacher = features(8), features(6, seed=1)
    part = build('lfi.LogitKD', temperature=2.0, loss_weight=0.5)
    total = 0.0
    for ours, theirs in zip(student.scores.tolist(), teacher.scores.tolist()):
        p, q = probabilities(theirs), probabilities(ours)
        total += sum(a * math.log(a / b) for a, b in zip(p, q))
    loss = compare(part, student, teacher)['loss_logits']
    assert loss.item() == pytest.approx(0.5 * 4 * total / 3, rel=1e-5)


def test_what_is_copied_costs_nothing():
    (value,) = compare(build('lfi.LogitKD'), features(6), features(6)).values()
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_the_classes_are_the_banks_first_concepts():
    """What the teacher says of the others is no part of the softmax."""
    part, student = build('lfi.LogitKD'), features(8, classes=4)
    more = features(6, seed=1, classes=7)
    expected = part(outputs_of(student), more.scores[:, :4])
    assert part(outputs_of(student), more.scores) == expected


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match='temperature=0 must be a number above 0'):
        build('lfi.LogitKD', temperature=0)


def test_the_mean_is_of_probabilities_at_the_temperature(means_of):
    part = build('lfi.LogitKD', temperature=3.0)
    teachers, means = [features(6, seed=seed) for seed in (1, 2)], means_of(part)
    for teacher in teachers:
        changed = part.with_means(read(part, teacher), means, 5)
    each = [probabilities(row, 3.0) for teacher in teachers for row in teacher.scores.tolist()]
    mean = [sum(column) / 6 for column in zip(*each)]
    assert [probabilities(row, 3.0) for row in changed.tolist()] == [pytest.approx(mean, rel=1e-4)] * 3


@pytest.mark.parametrize('predict_by', [None, dict(type='lfi.ByTexts')])
def test_a_head_that_scores_each_class_alone_is_refused_when_the_student_is_built(
    make_classifier, predict_by
):
    head = dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=4, in_channels=16)
    taught = dict(head=head, predict_by=predict_by, std=0.1)
    message = 'supervision.logit_kd: .*head=MultiLabelLinearClsHead .*take lfi.Interactions'
    with pytest.raises(ValueError, match=message):
        make_classifier(supervision=parts('interactions', 'logit_kd'), **taught)
    others = [name for name in PARTS if name != 'logit_kd']
    assert make_classifier(supervision=parts(*others), **taught).parts.keys() == {*others}


@pytest.mark.parametrize('own', ['sigmoid, concept by concept', 'softmax over the bank', None])
@pytest.mark.parametrize('asked', [None, 3, CONCEPTS])
def test_a_teacher_that_judges_each_concept_by_itself_must_be_asked_about_all(own, asked):
    teacher = SimpleNamespace(bank=BANK, presence_kind=own, max_concepts=asked)
    part = build('lfi.LogitKD')
    if own == 'sigmoid, concept by concept' and asked == 3:
        with pytest.raises(ValueError, match=r'asked about \(sigmoid, .*set teacher.max_concepts=None'):
            part.check_teacher(teacher)
    else:
        part.check_teacher(teacher)
