"""A plain student as a Vision Transformer of timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead, VisionTransformerClsHead
from torch import Tensor, nn

from lfi.models.batches import pixel_format
from lfi.models.vit_checkpoints import from_lfi

from .graphs import inference_graph, relative_difference

# The architecture's name fixes the epsilon of timm's norms; arguments set everything else.
ARCHITECTURES = {1e-6: 'vit_base_patch16_224', 1e-5: 'vit_base_patch16_clip_224'}
POOLS = {'cls_token': 'token', 'avg_featmap': 'avg', 'featmap': '', 'raw': ''}
ACTIVATIONS = {'GELU': 'gelu', 'QuickGELU': 'quick_gelu'}


def to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a plain student to timm.

    A classifier keeps its head; of any other model the backbone alone is converted, whose tokens timm returns
    after the last norm. timm's model reads RGB images: the channels of the first layer are reversed for a
    student that reads BGR.

    Args:
        student: The return value of `ExportedStudent.build`, with mmpretrain's own `VisionTransformer`.

    Returns:
        The weights by timm's names; and the `config.json` from which timm builds the model.

    Raises:
        ValueError: If timm's model cannot compute the same; the message says why.
    """
    vit: Any = student.backbone
    if type(vit) is not VisionTransformer:
        raise ValueError(_why_not_plain(vit))
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


def build_timm(state: Mapping[str, Tensor], config: dict) -> nn.Module:
    """Build the model of `to_timm` in eval mode, as `timm.create_model('local-dir:FOLDER')` does."""
    model = timm.create_model(config['architecture'], **config['model_args'])
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def timm_difference(student: nn.Module, vit: nn.Module) -> float:
    """The largest difference of timm's model from the student on two random images, over the largest value.

    Args:
        student: As for `to_timm`.
        vit: The return value of `build_timm`.
    """
    backbone: Any = student.backbone
    shape = backbone.patch_embed.projection.in_channels, *backbone.img_size
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    rgb = pixel_format(student.get_submodule('data_preprocessor')).rgb
    graph, _ = inference_graph(student, 'classifier' if vit.num_classes else 'backbone')
    expected, found = graph(images if rgb else images.flip(1))[-1], vit(images)
    if backbone.out_type == 'featmap':
        expected, found = expected.flatten(2).mT, found[:, vit.num_prefix_tokens :]
    return relative_difference(found, expected)


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


def _why_not_plain(vit: nn.Module) -> str:
    if getattr(vit, 'num_queries', 0):
        return (
            f'backbone.write_back={vit.write_back!r}, backbone.fuse={vit.fuse!r}: the outputs depend on '
            "the queries, which timm's Vision Transformer lacks. Export as mmpretrain, or train a student "
            "with backbone.write_back='none' and backbone.fuse='none'"
        )
    if hasattr(vit, 'num_queries'):
        return (
            "timm's Vision Transformer has no stem, no window_size and no use_rel_pos as they are here: "
            'export as mmpretrain, or train the student without them'
        )
    return f'the backbone is a {type(vit).__name__}, not a VisionTransformer: export as mmpretrain'
