"""The classes of task models, by their names in a config."""

from __future__ import annotations

from typing import Any, ClassVar

from mmengine.model import BaseModel

from lfi.mixed_classes import mixed_class
from lfi.registry import MODELS


def with_mixin(prefix: str, mixin: type, task: str) -> type[BaseModel]:
    """A task model's class with a mixin before it.

    Args:
        prefix: how the new class's name begins.
        mixin: what comes before the task model among the bases.
        task: the registered type of the task's model, with its scope, as 'mmdet.MaskRCNN'.

    Raises:
        ValueError: if the type is not registered, or has the mixin already.
    """
    kind = MODELS.get(task)
    if not isinstance(kind, type):
        raise ValueError(f'task={task!r} is not a registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, mixin):
        raise ValueError(f'task={task!r} has a {mixin.__name__} already: set type={task!r} in its place')
    found: type[BaseModel] = mixed_class(prefix, mixin, kind)
    return found


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
