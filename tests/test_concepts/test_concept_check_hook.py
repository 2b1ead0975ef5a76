from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from lfi import teacher_config
from lfi.concepts import ConceptBank, ConceptCheckHook
from lfi.concepts.concept_check_hook import classes_of
from lfi.models import ByFeatures, ByHead, ByTexts, Student


def check(names, classes, background=(), reads_labels=True, validation=None, predict_by=None):
    predict_by = predict_by or ByHead()
    bank = ConceptBank((*names, *background), ('{}',), None, len(background))
    dataset = SimpleNamespace(metainfo=dict(classes=classes) if classes else {})
    family = SimpleNamespace(reads_labels=reads_labels)
    model = SimpleNamespace(
        teacher_outputs={'maps'}, teacher=SimpleNamespace(bank=bank), family=family, predict_by=predict_by
    )
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    if validation is not None:
        loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=validation)))
        runner.val_loop = SimpleNamespace(dataloader=loader)
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


@pytest.mark.parametrize(
    'model',
    [
        torch.nn.Identity(),
        # A student whose parts need no teacher has none to show.
        Student(
            task='mmpretrain.ImageClassifier',
            backbone=dict(type='lfi.InteractionQueryViT', arch='deit-tiny', img_size=32, patch_size=16),
            supervision=dict(prior=dict(type='lfi.AffinityPrior')),
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_without_a_teacher_passes(model):
    dataset = SimpleNamespace(metainfo=dict(classes=['cat']))
    loader = SimpleNamespace(dataset=dataset)
    ConceptCheckHook().before_train(SimpleNamespace(model=model, train_dataloader=loader))


def test_a_student_is_checked_before_its_first_step():
    student = Student(
        task='mmpretrain.ImageClassifier',
        backbone=dict(type='lfi.InteractionQueryViT', arch='deit-tiny', img_size=32, patch_size=16),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=192),
        teacher=teacher_config('shapes-tiny', concepts=['red circle', 'blue star'], background=[]),
        supervision=dict(interactions=dict(type='lfi.Interactions')),
    )
    dataset = SimpleNamespace(metainfo=dict(classes=['blue star', 'red circle']))
    runner = SimpleNamespace(model=student, train_dataloader=SimpleNamespace(dataset=dataset))
    with pytest.raises(ValueError, match="'blue star' is concept 1"):
        ConceptCheckHook().before_train(runner)


@pytest.mark.parametrize(
    ('validation', 'message'),
    [
        (
            ['cat', 'dog', 'ring'],
            'the validation set has 3 classes, the training set 2 classes: if val_dataloader',
        ),
        (
            ['dog', 'cat'],
            "class 0 of the validation set is 'dog', .* is 'cat'; 'dog' is class 1: if val_dataloader",
        ),
    ],
)
def test_validation_on_other_classes_is_refused_before_training(validation, message):
    with pytest.raises(ValueError, match=message):
        check(['cat', 'dog'], ['cat', 'dog'], validation=validation)
    # Features are probed on any classes.
    check(['cat', 'dog'], ['cat', 'dog'], validation=validation, reads_labels=False)
    check(['cat', 'dog'], ['cat', 'dog'], validation=validation, predict_by=ByFeatures())


@pytest.mark.parametrize('validation', [['Cat', 'a dog'], ['cat'], ()])
def test_validation_on_the_same_classes_passes(validation):
    check(['cat', 'dog'], ['cat', 'dog'], validation=validation)


def test_data_sets_of_several_kinds_have_no_class_names():
    assert classes_of(SimpleNamespace(metainfo=[dict(classes=['cat']), dict(classes=['dog'])])) == ()


def test_pretraining_that_reads_no_label_passes():
    check(['dog', 'cat'], ['cat', 'dog'], reads_labels=False)


@pytest.mark.parametrize(
    ('names', 'classes', 'words'),
    [
        (['person', 'bicycle', 'cat'], ['cat', 'dog'], "class 0 .* is 'cat', and concept 0 .* is 'person'"),
        (['dog', 'cat'], ['cat', 'dog'], "'cat' is concept 1"),
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
        (['dog', 'cat'], r'predict_by\.concepts must begin'),
        (['a', 'b', 'c'], 'predict_by 2 concepts'),
    ],
)
def test_what_predicts_by_texts_names_is_compared_with_the_test_set(classes, words):
    dataset = SimpleNamespace(metainfo=dict(classes=classes))
    predict_by = ByTexts(concepts=['cat', 'dog'])
    model = SimpleNamespace(
        predict_by=predict_by,
        require_teacher_cfg=lambda: predict_by.teacher_cfg_for(dict(model='ViT-B-32')),
    )
    augmented = SimpleNamespace(module=model)
    runner = SimpleNamespace(model=augmented, test_dataloader=SimpleNamespace(dataset=dataset))
    with pytest.raises(ValueError, match=words) if words else nullcontext():
        ConceptCheckHook().before_test(runner)


def test_a_class_that_is_the_background_is_refused():
    with pytest.raises(ValueError, match="'street' is concept 2"):
        check(['cat', 'dog'], ['street', 'dog'], background=['street'])
