"""The data set's classes against the concepts that a model is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from lfi.registry import HOOKS
from lfi.utils.modules import unwrapped

from .names import moved_name


@HOOKS.register_module()
class ConceptCheckHook(Hook):
    """Checks that the teacher's concepts begin with the data set's classes, in its order.

    A label is an index into the bank: in another order the teacher would be asked about cats in an image of
    a dog, and nothing would fail. Names may be worded differently; a class whose name stands elsewhere in the
    bank, and a bank of fewer concepts than classes, are errors. Models without a teacher, those that read no
    label (pretraining), and data sets that name no classes pass. Before a test the classes that
    `lfi.ByTexts` names are compared with those of the test set.

    Raises:
        ValueError: Before training, or a test, if they do not fit.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the teacher's concepts with the classes of the training set."""
        model = unwrapped(runner.model)
        # What a student needs of its teacher; other models have no such attribute.
        if getattr(model, 'needs', None) and model.family.reads_labels:
            bank = model.teacher.bank
            compare(classes_of(runner.train_dataloader.dataset), bank.names, bank.num_concepts, 'teacher')

    def before_test(self, runner: Runner) -> None:
        """Compare what `lfi.ByTexts` names with the classes of the test set."""
        model = unwrapped(runner.model)
        predict_by: Any = getattr(model, 'predict_by', None)
        if getattr(predict_by, 'names_classes', False):
            named = predict_by.named_classes(model)
            compare(classes_of(runner.test_dataloader.dataset), named, len(named), 'predict_by')


def compare(classes: Sequence[str], names: Sequence[str], known: int, field: str) -> None:
    """Compare the classes of a data set with the concepts that a part of the model's config names.

    Args:
        classes: of the data set; none pass.
        names: the concepts, and after them the background.
        known: how many of the names are concepts.
        field: the part of the config, for the message.

    Raises:
        ValueError: if the concepts do not begin with the classes.
    """
    advice = (
        f"{field}.concepts must begin with the data set's classes, in its order "
        '(default_hooks.concept_check=None leaves this check out)'
    )
    if known < len(classes):
        raise ValueError(f'the data set has {len(classes)} classes, the {field} {known} concepts: ' + advice)
    if moved := moved_name(classes, names):
        label, index = moved
        raise ValueError(
            f'class {label} of the data set is {classes[label]!r}, and concept {label} of the {field} is '
            f'{names[label]!r}; {classes[label]!r} is its concept {index}: {advice}'
        )


def classes_of(dataset: Any) -> Sequence[str]:
    """The names of a data set's classes; none where it does not say them."""
    return (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
