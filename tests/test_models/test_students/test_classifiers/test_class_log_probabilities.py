"""The teacher's class probabilities, where images are asked about some concepts alone."""

from types import SimpleNamespace

import pytest
import torch
from lfi.concepts import ConceptBank
from lfi.models.students.classifiers.lfi_image_classifier import (
    LEAST_PRESENCE,
    check_probabilities,
    class_log_probabilities,
)
from lfi.models.teachers.teacher_batch import most_present
from lfi.structures import REST, InteractionMaps

CLASSES, CONCEPTS, TEXTS = 5, 7, 8
BANK = ConceptBank(tuple('abcdefgh'), ('{}',), torch.eye(TEXTS), num_background=1)


@pytest.fixture
def every():
    """A teacher's maps of all texts of the bank, whose presence is a softmax."""
    generator = torch.Generator().manual_seed(0)
    presence = (2 * torch.randn(3, TEXTS, generator=generator)).softmax(1)
    logits, valid = torch.zeros(3, 1, TEXTS, 2, 2), torch.ones(3, 2, 2, dtype=torch.bool)
    return InteractionMaps(logits=logits, presence=presence, valid=valid)


def test_of_all_concepts_they_are_the_presence(every):
    found = class_log_probabilities(every, CLASSES, TEXTS)
    torch.testing.assert_close(found, every.presence[:, :CLASSES].log())


@pytest.mark.parametrize('asked', [1, 3, CONCEPTS])
@pytest.mark.parametrize('label', [None, 1])
def test_what_was_not_asked_shares_what_is_left(every, asked, label):
    labels = None if label is None else torch.eye(TEXTS)[[label] * 3]
    maps = most_present(every, labels, BANK, asked)
    found = class_log_probabilities(maps, CLASSES, TEXTS).exp()
    for presence, concepts, got in zip(every.presence.tolist(), maps.concepts.tolist(), found.tolist()):
        named = [concept for concept in concepts if concept != REST]
        even = (1 - sum(presence[concept] for concept in named)) / (TEXTS - len(named))
        expected = [presence[k] if k in named else even for k in range(CLASSES)]
        assert got == pytest.approx(expected, rel=1e-5)


def test_presence_that_adds_up_to_more_than_one_leaves_the_least(every):
    concepts = torch.tensor([[0, 3, REST]]).expand(3, -1)
    presence = torch.tensor([[0.75, 0.5, 0.0]]).expand(3, -1)
    logits = every.logits[:, :, :3]
    maps = InteractionMaps(logits=logits, presence=presence, valid=every.valid, concepts=concepts)
    found = class_log_probabilities(maps, CLASSES, TEXTS).exp()
    expected = [0.75, LEAST_PRESENCE, LEAST_PRESENCE, 0.5, LEAST_PRESENCE]
    assert found.tolist() == [pytest.approx(expected)] * 3


@pytest.mark.parametrize('own', ['sigmoid, concept by concept', 'softmax over the bank', None])
@pytest.mark.parametrize('asked', [None, 3, CONCEPTS])
def test_a_teacher_that_judges_each_concept_by_itself_must_be_asked_about_all(own, asked):
    teacher = SimpleNamespace(bank=BANK, own_presence=own, max_concepts=asked)
    if own == 'sigmoid, concept by concept' and asked == 3:
        with pytest.raises(ValueError, match=r'says \(sigmoid, .*leave out teacher.max_concepts=3'):
            check_probabilities(teacher)
    else:
        check_probabilities(teacher)


def test_a_teacher_of_another_kind_need_not_say_how_it_judges():
    check_probabilities(SimpleNamespace(bank=BANK))
