"""Export of a plain student as a model of timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from mmpretrain.models.backbones import ResNet, TIMMBackbone, VisionTransformer
from torch import Tensor, nn

from lfi.models.batches.pixel_format import pixel_format_of

from .inference_graph import inference_graph, relative_difference
from .timm_cnn import timm_cnn_to_timm
from .timm_resnet import resnet_to_timm
from .timm_vit import vit_to_timm


def to_timm(student: nn.Module) -> tuple[dict[str, Tensor], dict]:
    """Convert a plain student to timm.

    A classifier keeps its head. For other models, only the backbone is converted: timm returns a ViT's tokens
    after the last norm, or a ResNet's last map. timm's model takes RGB images: if the student takes BGR, the
    channels of the first layer are reversed.

    Args:
        student: model from `ExportedStudent.build`, with mmpretrain's `VisionTransformer`, `ResNet` or
            `TIMMBackbone`.

    Returns:
        Weights by timm's names, which equal torchvision's for a ResNet; and the content of the `config.json`
        from which timm builds the model.

    Raises:
        ValueError: if timm has no equivalent model.
    """
    backbone: Any = student.backbone
    if type(backbone) is ResNet:
        return resnet_to_timm(student)
    if type(backbone) is VisionTransformer:
        return vit_to_timm(student)
    if type(backbone) is TIMMBackbone:
        return timm_cnn_to_timm(student)
    raise ValueError(_unsupported_reason(backbone))


def build_timm(state: Mapping[str, Tensor], config: dict) -> nn.Module:
    """Build the model of `to_timm` in eval mode, as `timm.create_model('local-dir:FOLDER')` does."""
    model = timm.create_model(config['architecture'], **config['model_args'])
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def timm_difference(student: nn.Module, model: nn.Module, config: dict) -> float:
    """Relative difference between the outputs of timm's model and of the student on two random images.

    Args:
        student: model that `to_timm` converted.
        model: model from `build_timm`.
        config: config from `to_timm`.
    """
    shape = config['pretrained_cfg']['input_size']
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    rgb = pixel_format_of(student.get_submodule('data_preprocessor')).rgb
    graph, _ = inference_graph(student, 'classifier' if config['num_classes'] else 'backbone')
    expected, output = graph(images if rgb else images.flip(1))[-1], model(images)
    if getattr(student.backbone, 'out_type', None) == 'featmap':
        expected, output = expected.flatten(2).mT, output[:, model.num_prefix_tokens :]
    return relative_difference(output, expected)


def _unsupported_reason(backbone: nn.Module) -> str:
    if getattr(backbone, 'num_queries', 0):
        return (
            f"backbone.write_back={backbone.write_back!r}: the outputs depend on the queries, which timm's "
            'Vision Transformer lacks. Export by --to student, or train a student with '
            "backbone.write_back='none'"
        )
    if hasattr(backbone, 'num_queries'):
        return (
            "timm's Vision Transformer does not support this stem, window_size or use_rel_pos: "
            'export by --to student, or train a student without these options'
        )
    return (
        f'the backbone is a {type(backbone).__name__}, and no VisionTransformer, ResNet or TIMMBackbone of '
        'mmpretrain: export by --to student'
    )
