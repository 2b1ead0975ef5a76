"""What every teacher gives a student: its class scores, where images are asked about some concepts alone."""

import pytest
import torch
from lfi.concepts import ConceptBank
from lfi.models.teachers import Teacher
from lfi.models.teachers.asked_concepts import topk_concepts
from lfi.models.teachers.teacher import MIN_PRESENCE, class_log_probabilities
from lfi.structures import OTHER, TEACHER_OUTPUTS, BatchView, ImageFeatures, InteractionMaps, StudentGrid

CONCEPTS, TEXTS = 7, 8
BANK = ConceptBank(tuple('abcdefgh'), ('{}',), torch.eye(TEXTS), num_background=1)
GRID = StudentGrid((2, 4), (16, 32))
BATCH = BatchView.raw(torch.zeros(3, 3, 16, 32), [(16, 32)] * 3)


@pytest.fixture
def every():
    """A teacher's maps of all texts of the bank, whose presence is a softmax."""
    generator = torch.Generator().manual_seed(0)
    presence = (2 * torch.randn(3, TEXTS, generator=generator)).softmax(1)
    logits = torch.randn(3, 1, TEXTS, 4, 4, generator=generator)
    return InteractionMaps(logits=logits, presence=presence, valid=torch.ones(3, 4, 4, dtype=torch.bool))


class Known(Teacher):
    """Says what it was given, and counts how often it is asked."""

    def __init__(self, maps):
        self.bank, self.maps, self.asked = BANK, maps, []

    def ask(self, batch):
        self.asked.append('maps')
        return self.maps

    def features_of(self, batch):
        self.asked.append('features')
        locations = self.maps.logits[:, 0]
        return ImageFeatures(locations.mean((-2, -1)), 2 * locations.mean((-2, -1)), locations)


def test_of_all_concepts_they_are_the_presence(every):
    torch.testing.assert_close(class_log_probabilities(every, TEXTS), every.presence.log())


@pytest.mark.parametrize('asked', [1, 3, CONCEPTS])
@pytest.mark.parametrize('label', [None, 1])
def test_what_was_not_asked_shares_what_is_left(every, asked, label):
    labels = None if label is None else torch.eye(TEXTS)[[label] * 3]
    maps = topk_concepts(every, labels, BANK, asked)
    found = class_log_probabilities(maps, TEXTS).exp()
    for presence, concepts, got in zip(every.presence.tolist(), maps.concepts.tolist(), found.tolist()):
        named = [concept for concept in concepts if concept != OTHER]
        even = (1 - sum(presence[concept] for concept in named)) / (TEXTS - len(named))
        expected = [presence[k] if k in named else even for k in range(TEXTS)]
        # What is left of 1 has the digits of 1.
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_presence_that_adds_up_to_more_than_one_leaves_the_least(every):
    concepts = torch.tensor([[0, 3, OTHER]]).expand(3, -1)
    presence = torch.tensor([[0.75, 0.5, 0.0]]).expand(3, -1)
    logits = every.logits[:, :, :3]
    maps = InteractionMaps(logits=logits, presence=presence, valid=every.valid, concepts=concepts)
    found = class_log_probabilities(maps, TEXTS).exp()
    expected = [0.75, MIN_PRESENCE, MIN_PRESENCE, 0.5, *[MIN_PRESENCE] * 4]
    assert found.tolist() == [pytest.approx(expected)] * 3


@pytest.mark.parametrize(
    ('teacher_outputs', 'asked'),
    [
        ((), []),
        (('maps',), ['maps']),
        (('features',), ['features']),
        (('class_scores',), ['features']),
        (('maps', 'class_scores'), ['maps']),
        (('features', 'class_scores'), ['features']),
        (TEACHER_OUTPUTS, ['maps', 'features']),
    ],
)
def test_targets_are_what_is_needed_and_nothing_is_asked_twice(every, teacher_outputs, asked):
    teacher = Known(every)
    targets = teacher.targets(BATCH, GRID, teacher_outputs)
    assert teacher.asked == asked
    assert {name for name in TEACHER_OUTPUTS if getattr(targets, name) is not None} == {*teacher_outputs}
    if 'class_scores' in teacher_outputs:
        by_maps = class_log_probabilities(every, TEXTS)
        expected = by_maps if 'maps' in teacher_outputs else teacher.features_of(BATCH).scores
        assert torch.equal(targets.class_scores, expected)


def test_maps_and_features_are_on_the_students_grid(every):
    targets = Known(every).targets(BATCH, GRID, TEACHER_OUTPUTS)
    assert targets.maps.grid == GRID.shape
    # Features and maps are read by one filter: those of a cache are kept as maps.
    torch.testing.assert_close(targets.features.locations, every.resize(GRID.shape).logits[:, 0])


def test_a_teacher_that_says_nothing_is_named():
    with pytest.raises(NotImplementedError, match='Teacher has no interaction maps'):
        Teacher().ask(BATCH)
    with pytest.raises(NotImplementedError, match='Teacher has no features'):
        Teacher().features_of(BATCH)
