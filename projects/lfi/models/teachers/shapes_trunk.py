"""The image trunk of the embedded teacher, known to timm as `lfi_shapes_trunk`."""

from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, ResNet


@register_model
def lfi_shapes_trunk(pretrained: bool = False, **kwargs) -> ResNet:
    """A narrow ResNet whose last feature map has stride 8: fine enough to tell small objects apart.

    Args:
        pretrained: Only False: its weights come with the whole model, by open_clip.
        **kwargs: Those of `timm.models.resnet.ResNet`.
    """
    arguments = dict(
        block=BasicBlock,
        layers=(1, 1, 2, 2),
        channels=(32, 48, 80, 112),
        stem_type='deep',
        stem_width=16,
        output_stride=8,
    )
    kwargs.setdefault('pretrained_cfg', dict(input_size=(3, 64, 64), num_classes=1000))
    return build_model_with_cfg(ResNet, 'lfi_shapes_trunk', pretrained, **{**arguments, **kwargs})
