"""The classes of task models, by their names in a config."""

from __future__ import annotations

from mmengine.model import BaseModel

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
        raise ValueError(f'task={task!r} is no registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, mixin):
        raise ValueError(f'task={task!r} has a {mixin.__name__} already: set type={task!r} in its place')
    return type(f'{prefix}{kind.__name__}', (mixin, kind), {'__module__': __name__})
