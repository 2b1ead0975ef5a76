"""Image trunk of the built-in teacher, registered in timm as `lfi_shapes_trunk`."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

# timm looks for this name in the module of a registered model.
default_cfgs = generate_default_cfgs(
    {'lfi_shapes_trunk.untrained': dict(input_size=(3, 64, 64), pool_size=(8, 8), classifier='fc')}
)


@register_model
def lfi_shapes_trunk(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """Build a narrow ResNet whose last feature map has stride 8, to separate small objects.

    Args:
        pretrained: must be False: open_clip loads the trunk's weights with all others.
        **kwargs: other arguments of `timm.models.resnet.ResNet`.
    """
    arguments = dict(
        block=BasicBlock,
        layers=(1, 1, 2, 2),
        channels=(32, 48, 80, 112),
        stem_type='deep',
        stem_width=16,
        output_stride=8,
    )
    return build_model_with_cfg(ResNet, 'lfi_shapes_trunk', pretrained, **{**arguments, **kwargs})
