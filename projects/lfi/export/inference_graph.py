"""Inference graphs of exported students, and their export to ONNX and torch.export."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import inf
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from timm.layers import to_2tuple
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .graph_ops import onnx_translations, to_weights_dtype

PARTS = ('classifier', 'detector', 'segmentor', 'backbone')
DEFAULT_SIZE = 224
BATCH = torch.export.Dim('batch')
OUTPUTS = {
    'cls_token': 'class_token',
    'avg_featmap': 'mean_token',
    'featmap': 'feature_map',
    'raw': 'tokens',
}

# Heads of mmpretrain that return several score tensors.
MULTI_OUTPUT_HEADS = ('MultiTaskHead', 'ConformerHead')


class BackboneFeatures(nn.Module):
    """Backbone that returns its outputs in float32.

    Args:
        backbone: module that returns a tuple of tensors.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's outputs for normalised images (B, 3, H, W)."""
        return tuple(output.float() for output in self.backbone(to_weights_dtype(self, images)))


class ClassifierLogits(nn.Module):
    """Classifier that returns its logits.

    Args:
        classifier: classifier of mmpretrain.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the logits (B, classes) of normalised images (B, 3, H, W)."""
        return (self.classifier(to_weights_dtype(self, images), mode='tensor').float(),)


class SegmentorLabels(nn.Module):
    """Segmentor that returns the class of each pixel.

    Args:
        segmentor: segmentor of mmseg that takes whole images (`test_cfg.mode='whole'`).
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes, H, W) and int64 labels (B, H, W) of normalised images (B, 3, H, W)."""
        segmentor: Any = self.segmentor
        size = tuple(images.shape[-2:])
        metainfo = dict(img_shape=size, pad_shape=size, ori_shape=size)
        logits = segmentor.encode_decode(to_weights_dtype(self, images), [metainfo]).float()
        if logits.shape[1] > 1:
            return logits, logits.argmax(1)
        return logits, (logits[:, 0].sigmoid() > segmentor.decode_head.threshold).long()


def default_part(student: nn.Module) -> str:
    """Part of a student that predicts its task; 'backbone' if the student predicts nothing."""
    if isinstance(student, ImageClassifier):
        return 'classifier' if student.with_head else 'backbone'
    if hasattr(student, 'encode_decode'):
        return 'segmentor'
    # Detectors share no attribute: a Mask2Former has none of a RetinaNet's heads.
    is_mmdet = any(kind.__module__.startswith('mmdet.') for kind in type(student).__mro__)
    return 'detector' if is_mmdet else 'backbone'


def inference_graph(student: nn.Module, part: str, box_masks: bool = False) -> tuple[nn.Module, list[str]]:
    """Build the graph of a part of a student, and name its outputs.

    Args:
        student: model from `ExportedStudent.build`.
        part: one of `PARTS`: 'classifier' for logits; 'detector' for boxes, scores, labels and, if the
            detector has them, masks, after NMS; 'segmentor' for logits and labels; 'backbone' for feature
            maps or tokens, one for each of `out_indices`.
        box_masks: whether a detector returns each mask within its box, not pasted into the image. Defaults to
            False.

    Raises:
        ValueError: if the student has no such part, or the part cannot be exported.
    """
    backbone: Any
    if part not in PARTS:
        raise ValueError(f'part={part!r} is unknown; choose from {PARTS}')
    reason = unsupported_part_reason(student, part)
    if reason is not None:
        raise ValueError(f"part={part!r} {reason}; or use part='backbone'")
    if part == 'classifier':
        return ClassifierLogits(student).eval(), ['logits']
    if part == 'segmentor':
        return SegmentorLabels(student).eval(), ['logits', 'labels']
    if part == 'detector':
        from .detections import DetectorGraph

        detector_graph = DetectorGraph(student, box_masks).eval()
        return detector_graph, detector_graph.names
    backbone = student.backbone
    graph = BackboneFeatures(backbone).eval()
    # Backbones without `out_type`, such as CNNs, return feature maps.
    name, indices = OUTPUTS[getattr(backbone, 'out_type', 'featmap')], getattr(backbone, 'out_indices', None)
    if indices is None:
        # Backbones without `out_indices`, such as timm's and HRNet: count the outputs.
        size = to_2tuple(getattr(backbone, 'img_size', DEFAULT_SIZE))
        with torch.no_grad():
            indices = range(len(graph(next(graph.parameters()).new_zeros(1, 3, *size))))
    return graph, [name] if len(indices) == 1 else [f'{name}_{index}' for index in indices]


def to_half(graph: nn.Module) -> nn.Module:
    """Copy a graph, and convert its modules and weights to float16.

    Input and outputs stay float32, as do the boxes and scores of a detector.

    Args:
        graph: graph from `inference_graph`.
    """
    half = deepcopy(graph).half()
    for module in half.modules():
        # Swin creates the masks of its shifted windows in float32 in each forward pass.
        if type(module).__name__ == 'WindowMSA':
            module.register_forward_pre_hook(cast_to_half, with_kwargs=True)
    return half


def cast_to_half(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Forward pre-hook that casts tensor arguments to float16."""
    args, kwargs = tree_map_only(Tensor, Tensor.half, (args, kwargs))
    return args, kwargs


@torch.no_grad()
def half_error(half: nn.Module, images: Tensor) -> str | None:
    """Name the module of a float16 graph that receives float32 tensors; None if there is none.

    Args:
        half: graph from `to_half`.
        images: (B, 3, H, W), normalised images.
    """
    running: list[str] = []
    hooks = []

    def leave(*_: Any) -> None:
        running.pop()

    for name, module in half.named_modules():
        label = f'{name or "the graph"} ({type(module).__name__})'
        hooks.append(module.register_forward_pre_hook(lambda *_, label=label: running.append(label)))
        hooks.append(module.register_forward_hook(leave))
    try:
        half(images)
    except RuntimeError as error:
        # The CPU may lack a float16 operator that a GPU has. The export does not run it.
        if 'Half' not in str(error) or 'not implemented' in str(error):
            return None
        # The last entry is the innermost module that did not return.
        return f'{running[-1]} cannot compute in float16 ({str(error).strip().splitlines()[0]})'
    finally:
        for hook in hooks:
            hook.remove()
    return None


def unsupported_part_reason(student: nn.Module, part: str) -> str | None:
    """Reason why a student lacks a part or the part cannot be exported; None if it can be."""
    kind = type(student).__name__
    if part == 'classifier' and default_part(student) != part:
        return f'needs an ImageClassifier with a head, got a {kind}'
    if part == 'classifier' and type(student.head).__name__ in MULTI_OUTPUT_HEADS:
        return f'needs a head with the scores of one task, got a {type(student.head).__name__}'
    if part == 'segmentor':
        if default_part(student) != part:
            return f'needs a segmentor of mmseg, got a {kind}'
        test_cfg: Any = student.test_cfg
        if test_cfg.get('mode', 'whole') != 'whole':
            return "needs whole images: set model.test_cfg.mode='whole'"
    if part == 'detector':
        if default_part(student) != part:
            return f'needs a detector of mmdet, got a {kind}'
        from .detections import unsupported_reason

        reason = unsupported_reason(student)
        return reason and f'cannot export {reason}'
    return None


def to_torch_export(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """Export a graph for `torch.export.save`.

    Args:
        graph: graph from `inference_graph`.
        shape: height and width of the images, in pixels.
        batch: fixed number of images. Defaults to None: any number.

    Raises:
        ValueError: if `batch` is None, and the model's code fixes the number of images.
    """
    # This import is slow, and only torch.export needs it.
    from torch._dynamo.exc import UserError, UserErrorType

    images = torch.zeros(batch or 2, 3, *shape)
    try:
        return torch.export.export(graph, (images,), dynamic_shapes={'images': {} if batch else {0: BATCH}})
    except UserError as error:
        if batch is not None or error.error_type != UserErrorType.CONSTRAINT_VIOLATION:
            raise
        raise ValueError(
            "the model's code fixes the number of images, as Swin's does: set --batch N"
        ) from error


def to_onnx(
    program: torch.export.ExportedProgram, names: Sequence[str], opset: int | None = None
) -> torch.onnx.ONNXProgram:
    """Translate an exported graph to ONNX. Needs onnx and onnxscript.

    Args:
        program: program from `to_torch_export`.
        names: names of the outputs; the input is named `images`.
        opset: opset of ONNX. Defaults to None: torch's default.
    """
    onnx = torch.onnx.export(
        program,
        input_names=['images'],
        output_names=list(names),
        opset_version=opset,
        dynamo=True,
        verbose=False,
        custom_translation_table=onnx_translations(),
    )
    # Only the old exporter returns None.
    assert onnx is not None
    return onnx


def relative_difference(output: Tensor, expected: Tensor) -> float:
    """Largest difference of two tensors, divided by the largest absolute value of `expected`.

    It is infinite if either tensor has values that are not finite.

    Raises:
        ValueError: if the shapes differ.
    """
    if output.shape != expected.shape:
        raise ValueError(f'the shapes differ: {tuple(output.shape)} instead of {tuple(expected.shape)}')
    if not (output.isfinite().all() and expected.isfinite().all()):
        return inf
    difference = (output - expected).abs().max() / expected.abs().max()
    # 0 / 0: both tensors are all zeros, and equal.
    return difference.nan_to_num(0.0, posinf=inf).item()
