"""Conversion of a plain Vision Transformer of mmpretrain to timm."""

from __future__ import annotations

from math import inf, nextafter
from typing import Any

from mmcv.cnn.bricks.transformer import FFN
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead, VisionTransformerClsHead
from torch import Tensor, nn

from lfi.models.backbones.vit_checkpoints import from_lfi

from .timm_config import add_head_and_pixels

# In timm, the architecture's name sets the epsilon of the norms; arguments set everything else.
ARCHITECTURES = {1e-6: 'vit_base_patch16_224', 1e-5: 'vit_base_patch16_clip_224'}
POOLS = {'cls_token': 'token', 'avg_featmap': 'avg', 'featmap': '', 'raw': ''}
ACTIVATIONS = {"GELU(approximate='none')": 'gelu', 'QuickGELU()': 'quick_gelu'}
NORMS = ('ln1', 'ln2', 'pre_norm')


def vit_to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a student with mmpretrain's `VisionTransformer`. See `to_timm`."""
    vit: Any = student.backbone
    last = vit.num_layers - 1
    _require(
        last in vit.out_indices, f'backbone.out_indices={list(vit.out_indices)} without the last, {last}'
    )
    pooled = vit.out_type == 'avg_featmap'
    _require(not (pooled and vit.final_norm), 'norms before and after pooling (use final_norm=False)')
    config = dict(
        architecture=ARCHITECTURES[_epsilon(vit)],
        num_features=vit.embed_dims,
        global_pool=POOLS[vit.out_type],
        model_args=dict(
            **_patch_arguments(vit),
            **_block_arguments(vit),
            embed_dim=vit.embed_dims,
            depth=vit.num_layers,
            class_token=vit.cls_token is not None,
            pre_norm=_has_pre_norm(vit),
            final_norm=vit.final_norm or pooled,
            fc_norm=pooled,
        ),
        pretrained_cfg=dict(
            input_size=[3, *vit.img_size],
            fixed_input_size=True,
            first_conv='patch_embed.proj',
            classifier='head',
        ),
    )
    state, unmatched = from_lfi({k.removeprefix('backbone.'): v for k, v in vit.state_dict().items()}, 'timm')
    for name in unmatched:
        _require(name.startswith('ln2.'), f'a parameter backbone.{name}')
        state[name.replace('ln2.', 'fc_norm.')] = vit.state_dict()[name]
    return add_head_and_pixels(student, state, _linear_head(student), config)


def _patch_arguments(vit: Any) -> dict[str, Any]:
    """Arguments of timm for the patches, which must tile the image."""
    conv = vit.patch_embed.projection
    size = conv.kernel_size
    for name, value in dict(stride=size, padding=(0, 0), dilation=(1, 1)).items():
        actual = getattr(conv, name)
        _require(actual == value, f'patches of {size} pixels with {name}={actual}')
    covered = tuple(n * side for n, side in zip(vit.patch_resolution, size))
    _require(covered == tuple(vit.img_size), f'images of {tuple(vit.img_size)} pixels in patches of {size}')
    biased = conv.bias is not None
    _require(biased != _has_pre_norm(vit), f'patch_cfg.bias={biased} with pre_norm={_has_pre_norm(vit)}')
    return dict(img_size=list(vit.img_size), patch_size=list(size))


def _has_pre_norm(vit: Any) -> bool:
    return not isinstance(vit.pre_norm, nn.Identity)


def _epsilon(vit: Any) -> float:
    """Epsilon of the norms, which timm shares among all norms."""
    norms = [norm for name, norm in vit.named_modules() if name.rpartition('.')[2] in NORMS]
    epsilons = sorted({norm.eps for norm in norms if not isinstance(norm, nn.Identity)})
    text = ' and '.join(map(str, epsilons))
    _require(len(epsilons) == 1 and epsilons[0] in ARCHITECTURES, f'norms with an epsilon of {text}')
    return epsilons[0]


def _block_arguments(vit: Any) -> dict[str, Any]:
    """Arguments of timm for the blocks, which timm shares among all blocks."""
    first, *others = map(_arguments_of_block, vit.layers)
    for name, value in first.items():
        _require(all(other[name] == value for other in others), f'blocks that differ in {name}')
    return first


def _arguments_of_block(block: Any) -> dict[str, Any]:
    ffn = block.ffn
    _require(
        isinstance(ffn, FFN) and ffn.num_fcs == 2,
        f'a feed-forward network {type(ffn).__name__} without exactly two layers',
    )
    activation = str(ffn.layers[0][1])
    _require(activation in ACTIVATIONS, f'an activation {activation}')
    return dict(
        num_heads=block.attn.num_heads,
        mlp_ratio=_ratio(ffn.feedforward_channels, block.embed_dims),
        qkv_bias=block.attn.qkv.bias is not None,
        init_values=None if isinstance(block.attn.gamma1, nn.Identity) else 1.0,
        act_layer=ACTIVATIONS[activation],
    )


def _ratio(hidden_dims: int, dims: int) -> float:
    """MLP ratio from which timm computes the hidden width, rounding down."""
    ratio = hidden_dims / dims
    return ratio if int(dims * ratio) == hidden_dims else nextafter(ratio, inf)


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


def _require(supported: bool, feature: str) -> None:
    if not supported:
        raise ValueError(f"timm's Vision Transformer does not support {feature}: export by --to student")
