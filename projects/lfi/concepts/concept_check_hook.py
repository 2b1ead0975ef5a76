"""The data set's classes against the teacher's concepts."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from lfi.registry import HOOKS

from .names import plain_name


@HOOKS.register_module()
class ConceptCheckHook(Hook):
    """Checks that the teacher's concepts begin with the data set's classes, in its order.

    A label is an index into the bank: in another order the teacher would be asked about cats in an image of
    a dog, and nothing would fail. Names may be worded differently; a class whose name stands elsewhere in the
    bank, and a bank of fewer concepts than classes, are errors. Models without a teacher, those that read no
    label (`reads_labels`), and data sets that name no classes pass.

    Raises:
        ValueError: Before training, if they do not fit.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the names."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        bank = getattr(getattr(model, 'teacher', None), 'bank', None)
        classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
        if bank is None or not classes or not getattr(model, 'reads_labels', True):
            return
        advice = "teacher.concepts must begin with the data set's classes, in its order"
        known = bank.num_concepts
        if known < len(classes):
            raise ValueError(
                f'the data set has {len(classes)} classes, the teacher {known} concepts: ' + advice
            )
        indices = {plain_name(name): index for index, name in reversed([*enumerate(bank.names)])}
        for label, name in enumerate(classes):
            index = indices.get(plain_name(name), label)
            if index != label and plain_name(bank.names[label]) != plain_name(name):
                raise ValueError(
                    f'class {label} of the data set is {name!r}, and concept {label} of the teacher is '
                    f'{bank.names[label]!r}; {name!r} is its concept {index}: {advice}'
                )
