"""A plain Vision Transformer of mmpretrain as one of timm."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead, VisionTransformerClsHead
from torch import Tensor, nn

from lfi.models.batches import pixel_format
from lfi.models.vit_checkpoints import from_lfi

# The architecture's name fixes the epsilon of timm's norms; arguments set everything else.
ARCHITECTURES = {1e-6: 'vit_base_patch16_224', 1e-5: 'vit_base_patch16_clip_224'}
POOLS = {'cls_token': 'token', 'avg_featmap': 'avg', 'featmap': '', 'raw': ''}
ACTIVATIONS = {'GELU': 'gelu', 'QuickGELU': 'quick_gelu'}


def vit_to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a student with mmpretrain's `VisionTransformer`; arguments and result as of `to_timm`."""
    vit: Any = student.backbone
    block = vit.layers[0]
    activation = type(block.ffn.layers[0][1]).__name__
    _require(activation in ACTIVATIONS, f'an activation {activation}')
    eps = block.ln1.eps
    _require(eps in ARCHITECTURES, f'norms with an epsilon of {eps}')
    pooled = vit.out_type == 'avg_featmap'
    _require(not (pooled and vit.final_norm), 'norms before and after pooling (use final_norm=False)')

    state, left = from_lfi({k.removeprefix('backbone.'): v for k, v in vit.state_dict().items()}, 'timm')
    for name in left:
        _require(name.startswith('ln2.'), f'a parameter backbone.{name}')
        state[name.replace('ln2.', 'fc_norm.')] = vit.state_dict()[name]
    head = _linear_head(student)
    if head is not None:
        state.update({f'head.{name}': value for name, value in head.state_dict().items()})
    pixels = pixel_format(student.get_submodule('data_preprocessor'))
    channels = slice(None) if pixels.rgb else slice(None, None, -1)
    if not pixels.rgb:
        state['patch_embed.proj.weight'] = state['patch_embed.proj.weight'].flip(1)

    arguments = dict(
        img_size=list(vit.img_size),
        patch_size=list(vit.patch_embed.projection.kernel_size),
        embed_dim=vit.embed_dims,
        depth=vit.num_layers,
        num_heads=block.attn.num_heads,
        mlp_ratio=vit.arch_settings['feedforward_channels'] / vit.embed_dims,
        qkv_bias=block.attn.qkv.bias is not None,
        init_values=None if isinstance(block.attn.gamma1, nn.Identity) else 1.0,
        class_token=vit.cls_token is not None,
        pre_norm=not isinstance(vit.pre_norm, nn.Identity),
        final_norm=vit.final_norm or pooled,
        fc_norm=pooled,
        global_pool=POOLS[vit.out_type],
        num_classes=0 if head is None else head.out_features,
        act_layer=ACTIVATIONS[activation],
    )
    config = dict(
        architecture=ARCHITECTURES[eps],
        num_classes=arguments['num_classes'],
        num_features=vit.embed_dims,
        global_pool=arguments['global_pool'],
        model_args=arguments,
        pretrained_cfg=dict(
            # The weights are the student's own, not published ones of the architecture's name.
            tag='lfi',
            input_size=[vit.patch_embed.projection.in_channels, *vit.img_size],
            fixed_input_size=True,
            mean=[value / 255 for value in pixels.mean[channels]],
            std=[value / 255 for value in pixels.std[channels]],
            num_classes=arguments['num_classes'],
            first_conv='patch_embed.proj',
            classifier='head',
        ),
    )
    return state, config


def _linear_head(student: nn.Module) -> nn.Linear | None:
    if not isinstance(student, ImageClassifier) or student.head is None:
        return None
    _require(student.neck is None, f'a neck {type(student.neck).__name__}')
    head = student.head
    if isinstance(head, LinearClsHead):
        return head.fc
    linear = isinstance(head, VisionTransformerClsHead) and head.hidden_dim is None
    _require(linear, f'a head {type(head).__name__} that is more than a linear layer')
    return head.layers.head


def _require(held: bool, what: str) -> None:
    if not held:
        raise ValueError(f"timm's Vision Transformer cannot hold {what}: export as mmpretrain")
