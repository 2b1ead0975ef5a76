"""A check that the concepts of a model match the classes of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from lfi.registry import HOOKS
from lfi.utils.modules import unwrap_model

from .names import first_misplaced_name


@HOOKS.register_module()
class ConceptCheckHook(Hook):
    """Hook that checks that the teacher's concepts begin with the data set's classes, in the same order.

    A label is an index into the bank: in another order the student would silently learn from wrong maps.
    Names may be worded differently. It is an error if a class name is elsewhere in the bank, or if there are
    fewer concepts than classes. Models without a teacher or without labels (pretraining), and data sets
    without class names, are not checked. Before training, the classes of the validation set are compared with
    those of the training set, and before a test, the classes of `lfi.ByTexts` with those of the test set.

    Raises:
        ValueError: before training or a test, if concepts and classes do not match.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the teacher's concepts with the classes of the training set."""
        model = unwrap_model(runner.model)
        # Only students have `teacher_outputs`, the outputs that they need from a teacher.
        if getattr(model, 'teacher_outputs', None) and model.family.reads_labels:
            bank = model.teacher.bank
            classes = classes_of(runner.train_dataloader.dataset)
            check_class_order(classes, bank.names, bank.num_concepts, 'teacher')
            validation = getattr(getattr(runner, 'val_loop', None), 'dataloader', None)
            if validation is not None and model.predict_by.predicts_labels:
                check_validation(classes_of(validation.dataset), classes)

    def before_test(self, runner: Runner) -> None:
        """Compare the classes of `lfi.ByTexts` with the classes of the test set."""
        model = unwrap_model(runner.model)
        predict_by: Any = getattr(model, 'predict_by', None)
        if getattr(predict_by, 'has_class_names', False):
            names = predict_by.class_names_of(model)
            check_class_order(classes_of(runner.test_dataloader.dataset), names, len(names), 'predict_by')


def check_validation(classes: Sequence[str], trained: Sequence[str]) -> None:
    """Check that a validation set has the classes of the training set. Names may be worded differently.

    Args:
        classes: class names of the validation set. Without any, the check passes.
        trained: class names of the training set. Without any, the check passes.

    Raises:
        ValueError: if it has more classes, or a class has another label.
    """
    advice = (
        'if val_dataloader is inherited from another config, take your own, or leave it out by --no-validate'
    )
    if trained:
        _check_order(
            classes,
            trained,
            len(trained),
            'the validation set',
            'the training set',
            ('class', 'classes'),
            advice,
        )


def check_class_order(classes: Sequence[str], names: Sequence[str], num_concepts: int, field: str) -> None:
    """Check that concepts begin with the classes of a data set.

    Args:
        classes: class names of the data set. Without any, the check passes.
        names: names of the concepts, followed by those of the background.
        num_concepts: number of the concepts among the names.
        field: field of the model's config, for the message.

    Raises:
        ValueError: if the concepts do not begin with the classes.
    """
    advice = f"{field}.concepts must begin with the data set's classes, in its order"
    nouns = ('concept', 'concepts')
    _check_order(classes, names, num_concepts, 'the data set', f'the {field}', nouns, advice)


def _check_order(
    classes: Sequence[str],
    names: Sequence[str],
    count: int,
    data: str,
    owner: str,
    nouns: tuple[str, str],
    advice: str,
) -> None:
    """Raise a ValueError unless the first `count` names can be those of the classes, in their order."""
    noun, plural = nouns
    advice += ' (default_hooks.concept_check=None leaves this check out)'
    if count < len(classes):
        raise ValueError(f'{data} has {len(classes)} classes, {owner} {count} {plural}: {advice}')
    if misplaced := first_misplaced_name(classes, names):
        label, index = misplaced
        raise ValueError(
            f'class {label} of {data} is {classes[label]!r}, and {noun} {label} of {owner} is '
            f'{names[label]!r}; {classes[label]!r} is {noun} {index}: {advice}'
        )


def classes_of(dataset: Any) -> Sequence[str]:
    """Return the class names of a data set; () if it has none."""
    metainfo = getattr(dataset, 'metainfo', None)
    # mmdet's ConcatDataset may have one for each of its data sets.
    return metainfo.get('classes') or () if isinstance(metainfo, Mapping) else ()
