"""The image trunk of the embedded teacher, known to timm as `lfi_shapes_trunk`."""

from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, ResNet


@register_model
def lfi_shapes_trunk(pretrained: bool = False, **kwargs) -> ResNet:
    """A small ResNet that sees 51 pixels at each place of a feature map of stride 8.

    With a wider view each place would know the whole image, and the map would name the object everywhere.

    Args:
        pretrained: Only False: its weights come with the whole model, by open_clip.
        **kwargs: Those of `timm.models.resnet.ResNet`.
    """
    arguments = dict(
        block=BasicBlock,
        # timm's ResNet has four stages; the last two stay empty.
        layers=(1, 1, 0, 0),
        channels=(64, 128, 128, 128),
        stem_type='deep',
        stem_width=16,
    )
    kwargs.setdefault('pretrained_cfg', dict(input_size=(3, 64, 64), num_classes=1000))
    return build_model_with_cfg(ResNet, 'lfi_shapes_trunk', pretrained, **{**arguments, **kwargs})
