"""`ConceptBank`."""

import logging

import pytest
import torch
import torch.nn.functional as F
from lfi.concepts import ConceptBank, concept_bank, prompt_templates, warn_about_equal_embeddings
from lfi.models.teachers import VLMAttentionTeacher
from lfi.models.teachers.text_tower import TextTower


def encode_texts(texts):
    """Vectors of any length that depend on the text alone."""
    return torch.stack(
        [
            torch.randn(6, generator=torch.Generator().manual_seed(sum(map(ord, t)) + len(t))) * len(t)
            for t in texts
        ]
    )


def test_embeddings_are_the_normalised_mean_over_the_prompts_unit_embeddings():
    names, templates = ['cat', 'red box'], ['{}', 'a photo of a {}.', 'many {}s, {} after {}']
    bank = ConceptBank.encode(names, templates, encode_texts)
    assert (bank.names, bank.templates, len(bank)) == (tuple(names), tuple(templates), 2)
    for name, got in zip(names, bank.embeddings):
        units = [F.normalize(encode_texts([t.replace('{}', name)])[0], dim=0) for t in templates]
        torch.testing.assert_close(got, F.normalize(sum(units) / 3, dim=0))


def test_half_precision_texts_give_a_float32_bank():
    bank = ConceptBank.encode(['cat'], ['{}'], lambda texts: encode_texts(texts).half())
    assert bank.embeddings.dtype == torch.float32
    torch.testing.assert_close(bank.embeddings.norm(dim=1), torch.ones(1))


@pytest.mark.parametrize(
    ('names', 'templates', 'message'),
    [
        ([], ['{}'], 'concepts is empty'),
        (['cat', ''], ['{}'], r"concepts and background must be non-empty strings, got \['cat', ''\]"),
        (['cat', '  '], ['{}'], 'concepts and background must be non-empty'),
        (['cat', 3], ['{}'], 'concepts and background must be non-empty'),
        (['cat'], [], 'templates must be strings with {} for the concept'),
        (['cat'], ['a {}', 'a photo'], r"templates must be strings with {} .* \['a {}', 'a photo'\]"),
        (['cat'], 'a photo of a {}.', 'templates must be strings with {}'),
    ],
)
def test_what_cannot_be_embedded_is_refused(names, templates, message):
    with pytest.raises(ValueError, match=message):
        ConceptBank.encode(names, templates, encode_texts)


def test_a_background_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match=r"background has \['sky'\] more than once"):
        ConceptBank.encode(['cat'], ['a {}'], encode_texts, background=['sky', 'sky'])
    with pytest.raises(ValueError, match=r"\['Cat'\], which are concepts too"):
        ConceptBank.encode(['cat'], ['a {}'], encode_texts, background=['Cat'])
    with pytest.raises(ValueError, match=r"background='sky' must be a list of texts"):
        ConceptBank.encode(['cat'], ['a {}'], encode_texts, background='sky')


def test_the_background_comes_last():
    bank = ConceptBank.encode(['cat', 'dog'], ['a {}'], encode_texts, background=['sky'])
    assert (bank.names, bank.num_concepts, len(bank)) == (('cat', 'dog', 'sky'), 2, 3)
    torch.testing.assert_close(bank.embeddings[2], F.normalize(encode_texts(['a sky'])[0], dim=0))
    with pytest.raises(ValueError, match='concepts and background must be non-empty strings'):
        ConceptBank.encode(['cat'], ['a {}'], encode_texts, background=[''])
    with pytest.raises(ValueError, match='concepts is empty'):
        ConceptBank.encode([], ['a {}'], encode_texts, background=['sky'])


def test_a_concept_is_not_its_own_rival():
    with pytest.raises(ValueError, match=r"background=.* has \['sea'\], which are concepts too"):
        ConceptBank.encode(['sea', 'cat'], ['{}'], encode_texts, background=['sky', 'sea'])


def test_many_texts_are_embedded_in_blocks(monkeypatch):
    names = [f'thing {i}' for i in range(7)]
    sizes = []

    def encode(texts):
        sizes.append(len(texts))
        return torch.tensor([[len(text), hash(text) % 97 + 1.0] for text in texts])

    whole = ConceptBank.encode(names, ['{}', 'a {}'], encode, ['sky'])
    sizes.clear()
    monkeypatch.setattr('lfi.concepts.concept_bank.BATCH_SIZE', 3)
    blocks = ConceptBank.encode(names, ['{}', 'a {}'], encode, ['sky'])
    assert sizes == [3, 3, 3, 3, 2, 2]
    torch.testing.assert_close(blocks.embeddings, whole.embeddings)


@pytest.mark.parametrize(('name', 'count'), [('openai', 80), ('simple', 7)])
def test_an_ensemble_by_its_name(name, count):
    templates = prompt_templates(name)
    assert len(set(templates)) == count
    assert all(template.count('{}') == 1 for template in templates)


def test_templates_stay_as_they_are():
    assert prompt_templates(['a {}.', 'many {}s']) == ('a {}.', 'many {}s')


def test_an_unknown_ensemble_is_refused():
    with pytest.raises(
        ValueError, match=r"templates='imagenet' is unknown; choose from \['openai', 'simple'\]"
    ):
        prompt_templates('imagenet')


NEITHER = ['狗', '猫']


@pytest.fixture
def said(monkeypatch):
    """The warnings."""
    texts = []

    def note(text, logger, level):
        assert (logger, level) == ('current', logging.WARNING)
        texts.append(text)

    monkeypatch.setattr(concept_bank, 'print_log', note)
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
    warn_about_equal_embeddings(NAMES, embeddings)
    warn_about_equal_embeddings(NAMES[:1], embeddings[:1])
    assert not said


@pytest.mark.parametrize('block', [1024, 7])
@pytest.mark.parametrize(
    ('twins', 'message'),
    [
        ({21: 3}, r"^'text 3' and 'text 21' have the same text embedding: their maps"),
        ({21: 3, 30: 9}, "'text 3' and 'text 21' .*, and 1 more pair of texts too: "),
        ({21: 3, 30: 3}, "'text 3' and 'text 21' .*, and 2 more pairs of texts too: "),
        ({1: 0, 39: 38}, "'text 0' and 'text 1' .*, and 1 more pair of texts too: "),
    ],
)
def test_the_first_pair_is_named_and_the_others_are_counted(
    said, embeddings, monkeypatch, block, twins, message
):
    monkeypatch.setattr(concept_bank, 'ROWS', block)
    for copy, original in twins.items():
        embeddings[copy] = embeddings[original] + 1e-5
    warn_about_equal_embeddings(NAMES, embeddings)
    with pytest.raises(ValueError, match=message):
        raise ValueError(*said)


def test_a_class_that_stands_there_twice_is_passed_over(said, embeddings):
    embeddings[21] = embeddings[3]
    warn_about_equal_embeddings([*NAMES[:21], NAMES[3], *NAMES[22:]], embeddings)
    assert not said


def test_what_was_compared_before_is_not_again(said, embeddings):
    embeddings[21] = embeddings[3]
    warn_about_equal_embeddings(NAMES, embeddings, num_checked=22)
    assert not said
    warn_about_equal_embeddings(NAMES, embeddings, num_checked=21)
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
    # It has embedded the concepts, and said so.
    tower.bank()
    assert len(said) == 1


def test_the_words_that_a_trained_teacher_has_not_seen_are_ignored_alike(said, teacher_root):
    tower = TextTower(dict(model=str(teacher_root / 'lit-effnet-lite0'), concepts=['dog']))
    tower.embed(['dog', 'puppy', 'cat', 'kitten', 'sofa', 'couch', NEITHER[0]])
    assert not said
    tower.embed([NEITHER[1], '自行车'])
    assert len(said) == 1 and "'狗' and '猫' have the same text embedding: their maps" in said[0]
