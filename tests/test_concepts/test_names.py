import pytest
from lfi.concepts import check_unique, concept_names
from lfi.errors import UsageError
from lfi.registry import DATASETS


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
    with pytest.raises(ValueError, match=r"concepts of type 'lfi.NamedForTest': .*'colour'"):
        concept_names({**config, 'colour': 'red'})
    with pytest.raises(ValueError, match="concepts of type 'lfi.NamedForTest': .*'data_root'"):
        concept_names(dict(type='lfi.NamedForTest'))
    assert concept_names({**config, 'extra': ['sky', 'x1']}) == ['x0', 'x1', 'sky']
    assert concept_names({**config, 'extra': {**config, 'limit': 4}}) == ['x0', 'x1', 'x2', 'x3']


@pytest.mark.parametrize(
    ('data_set', 'first', 'count'),
    [
        ('mmdet.CocoDataset', 'person', 80),
        ('mmpretrain.CIFAR10', 'airplane', 10),
        # As texts, in which an underscore would be a token.
        ('mmpretrain.CUB', 'Black footed Albatross', 200),
    ],
)
def test_other_projects_data_sets_name_their_classes(data_set, first, count):
    names = concept_names(dict(type=data_set))
    assert (names[0], len(names)) == (first, count)


@pytest.mark.parametrize(
    ('concepts', 'message'),
    [
        (
            dict(type='lfi.NoSuchData'),
            r"concepts.type='lfi.NoSuchData' is neither a vocabulary nor a data set",
        ),
        (dict(data_root='x'), 'concepts.type=None is neither a vocabulary'),
        (dict(type='mmpretrain.CustomDataset'), "concepts.type='mmpretrain.CustomDataset' has neither"),
        (dict(type='mmpretrain.CIFAR10', data_root='x'), 'names its classes itself: leave out data_root'),
        ('cat', "concepts='cat' must be a list of names"),
    ],
)
def test_a_source_without_names_is_refused(concepts, message):
    with pytest.raises(ValueError, match=message):
        concept_names(concepts)


def test_what_comes_after_the_classes_comes_once():
    names = concept_names(dict(type='mmpretrain.CIFAR10', extra=dict(type='lfi.ImageNetNames')))
    assert len(names) == len(set(names)) and 'missile' in names


def test_case_tells_no_names_apart():
    names = concept_names(dict(type='mmpretrain.CIFAR10', extra=['Dog', 'polar_bear', 'Polar bear', 'pond']))
    assert names[-2:] == ['polar_bear', 'pond'] and 'Dog' not in names
    with pytest.raises(ValueError, match=r"texts has \['sky', 'Sky'\] more than once"):
        check_unique(['sky', 'dog', 'Sky'], 'texts')


def test_texts_that_come_twice_are_refused_where_they_are_typed():
    check_unique(['cat', 'dog'], 'texts')
    with pytest.raises(ValueError, match=r"texts has \['cat'\] more than once, .*share .*reword it"):
        check_unique(['cat', 'dog', 'cat'], 'texts')
    # A student that is shared names the classes of its data set one by one.
    names = concept_names(dict(type='lfi.ImageNetNames'))
    assert len(set(names)) == 998 and concept_names(names) == names


@pytest.mark.parametrize(
    ('first', 'second'), [('Traffic_light', 'traffic light'), ('dog', 'dog '), ('caf\u00e9', 'cafe\u0301')]
)
def test_names_that_look_the_same_are_the_same(first, second):
    with pytest.raises(UsageError, match='more than once'):
        check_unique([first, 'horse', second], 'texts')


def test_a_wide_vocabulary_around_a_tasks_own_classes():
    names = concept_names(dict(type='lfi.ImageNetNames'))
    assert len(set(names)) > 990
    assert names[:2] == ['tench', 'goldfish']
    wide = concept_names(dict(type='lfi.PACS', extra=dict(type='lfi.ImageNetNames')))
    assert wide[:7] == concept_names(dict(type='lfi.PACS'))
    assert set(names) < set(wide)
