"""Conversion of a plain ResNet of mmpretrain to timm, which uses torchvision's names."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.necks import GlobalAveragePooling
from torch import Tensor, nn

from .timm_config import add_head_and_pixels

# Arguments of mmpretrain's ResNet that make it equal to timm's ResNet.
PLAIN = dict(
    style='pytorch',
    num_stages=4,
    stem_channels=64,
    base_channels=64,
    deep_stem=False,
    avg_down=False,
    strides=(1, 2, 2, 2),
    dilations=(1, 1, 1, 1),
    conv_cfg=None,
)
BATCH_NORMS = ('BN', 'BN2d', 'SyncBN')
EPS = 1e-5
SIZE = 224
"""Height and width in timm's config where the training's are unknown; the model takes any size."""


def resnet_to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a student with mmpretrain's `ResNet`. See `to_timm`."""
    resnet: Any = student.backbone
    for name, value in PLAIN.items():
        actual = getattr(resnet, name)
        if actual != value:
            raise ValueError(
                f"timm's ResNet does not support backbone.{name}={actual!r}: export by --to student"
            )
    if resnet.norm_cfg['type'] not in BATCH_NORMS or resnet.norm_cfg.get('eps', EPS) != EPS:
        raise ValueError(
            f"timm's ResNet has batch norms with eps={EPS}, and not backbone.norm_cfg="
            f'{dict(resnet.norm_cfg)}: export by --to student'
        )
    if resnet.out_indices[-1] != 3:
        raise ValueError(
            f"timm's ResNet ends with its last stage; backbone.out_indices={resnet.out_indices} does not: "
            'export by --to student'
        )
    head = linear_head(student)
    config = dict(
        architecture=f'resnet{resnet.depth}',
        num_features=resnet.feat_dim,
        global_pool='' if head is None else 'avg',
        model_args={},
        pretrained_cfg=dict(input_size=[3, SIZE, SIZE], first_conv='conv1', classifier='fc'),
    )
    return add_head_and_pixels(student, resnet.state_dict(), head, config)


def linear_head(student: nn.Module) -> nn.Linear | None:
    """Return the linear layer of a classifier; None for other models.

    Raises:
        ValueError: if the classifier has another neck or head.
    """
    if not isinstance(student, ImageClassifier) or student.head is None:
        return None
    if type(student.neck) is not GlobalAveragePooling or not isinstance(student.head, LinearClsHead):
        raise ValueError(
            "timm's CNNs have a global average and one linear layer, not a "
            f'{type(student.neck).__name__} and a {type(student.head).__name__}: export by --to student'
        )
    return student.head.fc
