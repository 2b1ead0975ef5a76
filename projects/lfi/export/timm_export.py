"""A plain student as a model of timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from mmpretrain.models.backbones import ResNet, VisionTransformer
from torch import Tensor, nn

from lfi.models.batches.pixel_format import pixel_format

from .inference_graph import inference_graph, relative_difference
from .timm_resnet import resnet_to_timm
from .timm_vit import vit_to_timm


def to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a plain student to timm.

    A classifier keeps its head; of any other model the backbone alone is converted: a ViT, whose tokens timm
    returns after the last norm, or a ResNet, whose last map it returns. timm's model reads RGB images: the
    channels of the first layer are reversed for a student that reads BGR.

    Args:
        student: The return value of `ExportedStudent.build`, with mmpretrain's own `VisionTransformer` or
            `ResNet`.

    Returns:
        The weights by timm's names, which for a ResNet are torchvision's too; and the `config.json` from
        which timm builds the model.

    Raises:
        ValueError: If timm's model cannot compute the same; the message says why.
    """
    backbone: Any = student.backbone
    if type(backbone) is ResNet:
        return resnet_to_timm(student)
    if type(backbone) is VisionTransformer:
        return vit_to_timm(student)
    raise ValueError(_why_not_plain(backbone))


def build_timm(state: Mapping[str, Tensor], config: dict) -> nn.Module:
    """Build the model of `to_timm` in eval mode, as `timm.create_model('local-dir:FOLDER')` does."""
    model = timm.create_model(config['architecture'], **config['model_args'])
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def timm_difference(student: nn.Module, model: nn.Module, config: dict) -> float:
    """The largest difference of timm's model from the student on two random images, over the largest value.

    Args:
        student: As for `to_timm`.
        model: The return value of `build_timm`.
        config: Likewise of `to_timm`.
    """
    shape = config['pretrained_cfg']['input_size']
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    rgb = pixel_format(student.get_submodule('data_preprocessor')).rgb
    graph, _ = inference_graph(student, 'classifier' if config['num_classes'] else 'backbone')
    expected, found = graph(images if rgb else images.flip(1))[-1], model(images)
    if getattr(student.backbone, 'out_type', None) == 'featmap':
        expected, found = expected.flatten(2).mT, found[:, model.num_prefix_tokens :]
    return relative_difference(found, expected)


def _why_not_plain(backbone: nn.Module) -> str:
    if getattr(backbone, 'num_queries', 0):
        return (
            f"backbone.write_back={backbone.write_back!r}: the outputs depend on the queries, which timm's "
            'Vision Transformer lacks. Export by --to student, or train a student with '
            "backbone.write_back='none'"
        )
    if hasattr(backbone, 'num_queries'):
        return (
            "timm's Vision Transformer has no stem, no window_size and no use_rel_pos as they are here: "
            'export by --to student, or train the student without them'
        )
    return (
        f'the backbone is a {type(backbone).__name__}, neither a VisionTransformer nor a ResNet of '
        'mmpretrain: export by --to student'
    )
