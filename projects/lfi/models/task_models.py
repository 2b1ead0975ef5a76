"""The classes of task models, by their names in a config."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from mmengine.model import BaseModel

from lfi.registry import MODELS


def with_mixin(prefix: str, mixin: Any, task: str) -> type[BaseModel]:
    """A task model's class with a mixin before it.

    Args:
        prefix: how the new class's name begins.
        mixin: what comes before the task model among the bases.
        task: the registered type of the task's model, with its scope, as 'mmdet.MaskRCNN'.

    Raises:
        ValueError: if the type is not registered, or has the mixin already.
    """
    kind: Any = MODELS.get(task)
    if not isinstance(kind, type):
        raise ValueError(f'task={task!r} is not a registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, mixin):
        raise ValueError(f'task={task!r} has a {mixin.__name__} already: set type={task!r} in its place')
    found: type[BaseModel] = _kind_with_mixin(prefix, mixin, kind)
    return found


@cache
def _kind_with_mixin(prefix: str, mixin: type, kind: type) -> Any:
    def reduced(model: BaseModel, protocol: int) -> Any:
        usual = object.__reduce_ex__(model, max(protocol, 2))
        # The class has no name of its own by which pickle could find it; a subclass has.
        return (_blank, (prefix, mixin, kind), *usual[2:]) if type(model) is found else usual

    members = {'__module__': __name__, '__reduce_ex__': reduced}
    found = type(f'{prefix}{kind.__name__}', (mixin, kind), members)
    return found


def _blank(prefix: str, mixin: type, kind: type) -> BaseModel:
    found = _kind_with_mixin(prefix, mixin, kind)
    blank: BaseModel = found.__new__(found)
    return blank


class AnyTask:
    """What builds any task model with a mixin before it, by a config's `task`; put it before the mixin.

    The model that is built is none of the class that is called, which says to the tools what all of them can
    do.
    """

    prefix: ClassVar[str]
    """How the new class's name begins."""
    mixin: ClassVar[type]
    """What comes before the task's model."""

    def __new__(cls, task: str, **arguments: Any) -> Any:
        """Build the model; errors as `with_mixin`, and the model's own."""
        return with_mixin(cls.prefix, cls.mixin, task)(**arguments)
