"""`ConceptBank`."""

import pytest
import torch
import torch.nn.functional as F
from lfi.concepts import ConceptBank


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
    monkeypatch.setattr('lfi.concepts.concept_bank.BLOCK', 3)
    blocks = ConceptBank.encode(names, ['{}', 'a {}'], encode, ['sky'])
    assert sizes == [3, 3, 3, 3, 2, 2]
    torch.testing.assert_close(blocks.embeddings, whole.embeddings)
