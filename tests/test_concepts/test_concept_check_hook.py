from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from lfi.concepts import ConceptBank, ConceptCheckHook


def check(names, classes, background=()):
    bank = ConceptBank((*names, *background), ('{}',), None, len(background))
    dataset = SimpleNamespace(metainfo=dict(classes=classes) if classes else {})
    model = SimpleNamespace(teacher=SimpleNamespace(bank=bank))
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    ConceptCheckHook().before_train(runner)


@pytest.mark.parametrize(
    ('names', 'classes'),
    [
        (['cat', 'traffic light', 'a dog'], ['Cat', 'traffic_light', 'dog']),
        (['cat', 'dog', 'sofa'], ['cat', 'dog']),
        # A class may be named twice.
        (['crane', 'maillot', 'crane', 'maillot'], ['crane', 'maillot', 'crane', 'maillot']),
        (['cat'], None),
    ],
)
def test_concepts_that_begin_with_the_classes_pass(names, classes):
    check(names, classes)


def test_a_model_without_a_teacher_passes():
    dataset = SimpleNamespace(metainfo=dict(classes=['cat']))
    ConceptCheckHook().before_train(
        SimpleNamespace(model=SimpleNamespace(), train_dataloader=SimpleNamespace(dataset=dataset))
    )


@pytest.mark.parametrize(
    ('names', 'classes', 'words'),
    [
        (['person', 'bicycle', 'cat'], ['cat', 'dog'], "class 0 .* is 'cat', and concept 0 .* is 'person'"),
        (['dog', 'cat'], ['cat', 'dog'], "'cat' is its concept 1"),
        (['sky', 'cat', 'dog'], ['cat', 'dog'], "must begin with the data set's classes"),
        (['cat', 'dog'], ['cat', 'dog', 'cow'], 'the data set has 3 classes, the teacher 2 concepts'),
    ],
)
def test_others_are_refused(names, classes, words):
    with pytest.raises(ValueError, match=words):
        check(names, classes, background=['street'])


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (['cat', 'dog'], None),
        (['dog', 'cat'], 'zero_shot.concepts must begin'),
        (['a', 'b', 'c'], 'zero_shot 2'),
    ],
)
def test_what_a_zero_shot_classifier_names_is_compared_with_the_test_set(classes, words):
    dataset = SimpleNamespace(metainfo=dict(classes=classes))
    model = SimpleNamespace(named_classes=('cat', 'dog'))
    augmented = SimpleNamespace(module=model)
    runner = SimpleNamespace(model=augmented, test_dataloader=SimpleNamespace(dataset=dataset))
    with pytest.raises(ValueError, match=words) if words else nullcontext():
        ConceptCheckHook().before_test(runner)


def test_a_class_that_is_the_background_is_refused():
    with pytest.raises(ValueError, match="'street' is its concept 2"):
        check(['cat', 'dog'], ['street', 'dog'], background=['street'])
