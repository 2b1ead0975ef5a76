"""Texts that a teacher does not tell apart are named, once."""

import logging

import pytest
import torch
import torch.nn.functional as F
from lfi.concepts import same_embeddings, warn_of_same_embeddings
from lfi.models.teachers import VLMAttentionTeacher
from lfi.models.teachers.text_tower import TextTower

NEITHER = ['狗', '猫']


@pytest.fixture
def said(monkeypatch):
    """The warnings."""
    texts = []

    def note(text, logger, level):
        assert (logger, level) == ('current', logging.WARNING)
        texts.append(text)

    monkeypatch.setattr(same_embeddings, 'print_log', note)
    return texts


@pytest.fixture
def embeddings():
    """Of 40 texts that differ."""
    return F.normalize(torch.randn(40, 64, generator=torch.Generator().manual_seed(0)), dim=-1)


NAMES = [f'text {i}' for i in range(40)]


def test_texts_that_differ_are_not_warned_of(said, embeddings):
    # As far from each other as "circle" and "a circle" are by the teacher of Shapes.
    embeddings[7] = F.normalize(embeddings[3] + 0.06 * embeddings[4], dim=-1)
    assert embeddings[7] @ embeddings[3] > 0.998
    warn_of_same_embeddings(NAMES, embeddings)
    warn_of_same_embeddings(NAMES[:1], embeddings[:1])
    assert not said


@pytest.mark.parametrize('block', [1024, 7])
@pytest.mark.parametrize(
    ('twins', 'message'),
    [
        ({21: 3}, r"^'text 3' and 'text 21' have the same text embedding: one is found"),
        ({21: 3, 30: 9}, "'text 3' and 'text 21' .*, and 1 more pair of texts too: "),
        ({21: 3, 30: 3}, "'text 3' and 'text 21' .*, and 2 more pairs of texts too: "),
        ({1: 0, 39: 38}, "'text 0' and 'text 1' .*, and 1 more pair of texts too: "),
    ],
)
def test_the_first_pair_is_named_and_the_others_are_counted(
    said, embeddings, monkeypatch, block, twins, message
):
    monkeypatch.setattr(same_embeddings, 'BLOCK', block)
    for copy, original in twins.items():
        embeddings[copy] = embeddings[original] + 1e-5
    warn_of_same_embeddings(NAMES, embeddings)
    with pytest.raises(ValueError, match=message):
        raise ValueError(*said)


def test_a_class_that_stands_there_twice_is_passed_over(said, embeddings):
    embeddings[21] = embeddings[3]
    warn_of_same_embeddings([*NAMES[:21], NAMES[3], *NAMES[22:]], embeddings)
    assert not said


def test_what_was_compared_before_is_not_again(said, embeddings):
    embeddings[21] = embeddings[3]
    warn_of_same_embeddings(NAMES, embeddings, known=22)
    assert not said
    warn_of_same_embeddings(NAMES, embeddings, known=21)
    assert len(said) == 1


def test_a_teacher_says_that_it_does_not_know_the_language(said):
    def teacher(concepts, **kwargs):
        return VLMAttentionTeacher('shapes-tiny', extractor='dense', concepts=concepts, **kwargs)

    teacher(dict(type='lfi.Shapes'), background=['background'])
    teacher(['red circle', 'circle', 'a circle', *NEITHER[:1]])
    assert not said
    teacher(['circle', *NEITHER])
    teacher(NEITHER[:1], background=NEITHER[1:])
    assert len(said) == 2 and all("'狗' and '猫' have the same text embedding" in text for text in said)


def test_a_text_tower_says_so_of_all_that_it_was_asked(said):
    tower = TextTower(dict(model='shapes-tiny', concepts=NEITHER))
    tower.embed(['circle', NEITHER[0]])
    assert not said
    for _ in range(2):
        tower.embed([NEITHER[1], 'star'])
    assert len(said) == 1 and "'狗' and '猫'" in said[0]
    tower.bank()
    assert len(said) == 2


def test_the_words_that_a_trained_teacher_has_not_seen_are_ignored_alike(said, teacher_root):
    tower = TextTower(dict(model=str(teacher_root / 'lit-effnet-lite0'), concepts=['dog']))
    tower.embed(['dog', 'puppy', 'cat', 'kitten', 'sofa', 'couch', NEITHER[0]])
    assert not said
    tower.embed([NEITHER[1], '自行车'])
    assert len(said) == 1 and "'狗' and '猫' have the same text embedding: one" in said[0]
