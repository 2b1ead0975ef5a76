"""Conversion of a student whose backbone is a CNN of timm."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from .timm_config import add_head_and_pixels
from .timm_resnet import SIZE, linear_head


def timm_cnn_to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a student with mmpretrain's `TIMMBackbone`. See `to_timm`."""
    features: Any = student.get_submodule('backbone.timm_model')
    name = features.pretrained_cfg['architecture']
    head = linear_head(student)
    model: Any = timm.create_model(name, num_classes=1)
    first_conv, classifier = (model.pretrained_cfg[key] for key in ('first_conv', 'classifier'))
    if not isinstance(first_conv, str) or not _is_linear(model, classifier):
        raise ValueError(
            f"timm's {name} does not begin with one convolution and end with one linear layer: export by "
            '--to student'
        )
    found, weights = features.state_dict(), {}
    for key, expected in model.state_dict().items():
        if key.startswith(f'{classifier}.'):
            continue
        # timm flattens the first level of modules, or wraps the model, where it gives feature maps.
        names = (key, key.replace('.', '_', 1), f'model.{key}')
        value = next((found[name] for name in names if name in found), None)
        if value is not None and value.shape != expected.shape:
            raise ValueError(
                f"timm's {name} has {key} of {tuple(expected.shape)}, and the student of "
                f'{tuple(value.shape)}: export by --to student'
            )
        if value is None:
            raise ValueError(
                f"timm's {name} has layers behind its last feature map, such as {key}, and the student has "
                'none: export by --to student'
            )
        weights[key] = value
    config = dict(
        architecture=name,
        num_features=model.num_features,
        global_pool='' if head is None else 'avg',
        model_args={},
        pretrained_cfg=dict(input_size=[3, SIZE, SIZE], first_conv=first_conv, classifier=classifier),
    )
    return add_head_and_pixels(student, weights, head, config)


def _is_linear(model: nn.Module, name: object) -> bool:
    return isinstance(name, str) and isinstance(model.get_submodule(name), nn.Linear)
