"""An exported student whose queries still work, as a model of its task."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel

from lfi.models.batches.raw_images import correct_image_sizes
from lfi.models.students.student import PaddedPredictMixin, with_mixin
from lfi.registry import MODELS


@MODELS.register_module(name='QueryStudent')
def query_student(task: str, **arguments: Any) -> BaseModel:
    """Build `dict(type='lfi.QueryStudent', task='mmdet.MaskRCNN', backbone=..., ...)`.

    Args:
        task: The type of the task's model. Its backbone must be one that can be asked.
        **arguments: Arguments of the task's model.

    Returns:
        The task's model, with the same parameter names, whose queries read no padding.

    Raises:
        ValueError: As `with_mixin` says.
    """
    query_kind = with_mixin('Query', PaddedPredictMixin, task)
    student = query_kind(**arguments)
    correct_image_sizes(student.data_preprocessor)
    return student
