"""`ConceptBank` and `concept_names`."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models import ConceptBank
from lfi.models.teachers.concept_bank import concept_names
from lfi.registry import DATASETS


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
        (['cat', ''], ['{}'], r"concepts must be non-empty strings, got \['cat', ''\]"),
        (['cat', '  '], ['{}'], 'concepts must be non-empty strings'),
        (['cat', 3], ['{}'], 'concepts must be non-empty strings'),
        (['cat'], [], 'templates must be strings with {} for the concept'),
        (['cat'], ['a {}', 'a photo'], r"templates must be strings with {} .* \['a {}', 'a photo'\]"),
        (['cat'], 'a photo of a {}.', 'templates must be strings with {}'),
    ],
)
def test_what_cannot_be_embedded_is_refused(names, templates, message):
    with pytest.raises(ValueError, match=message):
        ConceptBank.encode(names, templates, encode_texts)


def test_names_come_from_a_list_or_from_a_data_set(monkeypatch):
    class Named:
        @staticmethod
        def class_names(data_root, limit=3):
            return tuple(f'{data_root}{i}' for i in range(limit))

    monkeypatch.setitem(DATASETS.module_dict, 'NamedForTest', Named)
    assert concept_names(('cat', 'dog')) == ['cat', 'dog']
    config = dict(type='lfi.NamedForTest', data_root='x', limit=2)
    assert concept_names(config) == ['x0', 'x1']
    assert config == dict(type='lfi.NamedForTest', data_root='x', limit=2)
    assert concept_names({**config, 'extra': ['sky']}) == ['x0', 'x1', 'sky']


@pytest.mark.parametrize(
    ('concepts', 'message'),
    [
        (dict(type='lfi.NoSuchData'), r"concepts.type='lfi.NoSuchData' is no data set with class_names\(\)"),
        (dict(data_root='x'), 'concepts.type=None is no data set'),
        (dict(type='mmpretrain.CIFAR10'), "concepts.type='mmpretrain.CIFAR10' is no data set"),
        ('cat', "concepts='cat' must be a list of names"),
    ],
)
def test_a_source_without_names_is_refused(concepts, message):
    with pytest.raises(ValueError, match=message):
        concept_names(concepts)
