"""The data set's classes against the teacher's concepts."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from lfi.registry import HOOKS


@HOOKS.register_module()
class ConceptCheckHook(Hook):
    """Before training, checks that the teacher's concepts begin with the data set's classes, in its order.

    A label is a place in the bank: in another order an image of a dog would be asked about cats, and nothing
    would fail. Names may be worded differently; a class whose name stands elsewhere in the bank, and a bank
    of fewer concepts than classes, are errors. Models without a teacher, and data sets that name no classes,
    pass.

    Raises:
        ValueError: before training, if they do not fit.
    """

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        bank = getattr(getattr(model, 'teacher', None), 'bank', None)
        classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
        if bank is None or not classes:
            return
        advice = "teacher.concepts must begin with the data set's classes, in its order"
        known = bank.num_concepts
        if known < len(classes):
            raise ValueError(
                f'the data set has {len(classes)} classes, the teacher {known} concepts: ' + advice
            )
        places = {_plain(name): place for place, name in reversed([*enumerate(bank.names)])}
        for label, name in enumerate(classes):
            place = places.get(_plain(name), label)
            if place != label and _plain(bank.names[label]) != _plain(name):
                raise ValueError(
                    f'class {label} of the data set is {name!r}, and concept {label} of the teacher is '
                    f'{bank.names[label]!r}; {name!r} is its concept {place}: {advice}'
                )


def _plain(name: str) -> str:
    return str(name).replace('_', ' ').casefold()
