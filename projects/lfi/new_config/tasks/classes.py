"""Number of classes of a model's heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfi.utils.config_types import type_name


def with_num_classes(model: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """Return changes that set the number of classes in all heads of a model, all of them of things.

    A list of heads is written in full, since MMEngine merges dicts and not lists.

    Args:
        model: config of the model.
        num_classes: number of classes.
    """
    changes: dict[str, Any] = {}
    if type_name(model) == 'LabelSmoothLoss':
        # It takes the number from the scores, later than mmpretrain's hook checks it.
        changes['num_classes'] = num_classes
    for key, value in model.items():
        if key in ('num_classes', 'num_things_classes') and isinstance(value, int):
            changes[key] = num_classes
        elif key == 'num_stuff_classes':
            changes[key] = 0
        elif key == 'class_weight' and isinstance(value, list):
            # Mask2Former has one weight for all classes, and one for no object.
            is_uniform = len(set(value[:-1])) == 1
            changes[key] = value[:1] * num_classes + value[-1:] if is_uniform else None
        elif isinstance(value, Mapping) and key != 'data_preprocessor':
            inner = with_num_classes(value, num_classes)
            if inner:
                changes[key] = inner
        elif isinstance(value, list) and any(
            'num_classes' in item for item in value if isinstance(item, Mapping)
        ):
            changes[key] = [{**item, **with_num_classes(item, num_classes)} for item in value]
    return changes
