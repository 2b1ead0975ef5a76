"""An exported student whose queries still work, as a model of its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.model import BaseModel
from torch import Tensor

from lfi.models.batches import valid_sizes_of
from lfi.models.raw_images import correct_image_sizes
from lfi.registry import MODELS

if TYPE_CHECKING:

    class _TaskModel(BaseModel):
        """What the model of a task has."""

        backbone: Any

        def predict(self, inputs: Tensor, data_samples: Sequence | None, **kwargs: Any) -> Sequence: ...

else:
    _TaskModel = object


class PaddedPredictMixin(_TaskModel):
    """Keeps the queries from reading padding at test time, as `InteractionDistillMixin` does.

    It comes before the model of the task among the bases of a class.
    """

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """The task's predictions."""
        if data_samples is None:
            return super().predict(inputs, data_samples, **kwargs)
        with self.backbone.padded(valid_sizes_of(inputs, data_samples)):
            return super().predict(inputs, data_samples, **kwargs)


@MODELS.register_module(name='QueryStudent')
def query_student(task: str, **arguments: Any) -> BaseModel:
    """Build `dict(type='lfi.QueryStudent', task='mmdet.MaskRCNN', backbone=..., ...)`.

    Args:
        task: The type of the task's model. Its backbone must be an `InteractionQueryViT`.
        **arguments: Arguments of the task's model.

    Returns:
        The task's model, with the same parameter names, whose queries read no padding.

    Raises:
        ValueError: If the type is not registered.
    """
    kind = MODELS.get(task)
    if kind is None:
        raise ValueError(f'task={task!r} is no registered model; give its scope too, as in mmdet.MaskRCNN')
    query_kind = type(f'Query{kind.__name__}', (PaddedPredictMixin, kind), {'__module__': __name__})
    student = query_kind(**arguments)
    correct_image_sizes(student.data_preprocessor)
    return student
