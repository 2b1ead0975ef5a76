"""Exported students as graphs of tensors, and the difference between a graph and its model."""

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

from .graph_ops import in_type_of, onnx_translations

PARTS = ('classifier', 'detector', 'segmentor', 'backbone')
USUAL_SIZE = 224
BATCH = torch.export.Dim('batch')
OUTPUTS = {
    'cls_token': 'class_token',
    'avg_featmap': 'mean_token',
    'featmap': 'feature_map',
    'raw': 'tokens',
}

# Heads of mmpretrain whose scores are several tensors.
HEADS_OF_MANY = ('MultiTaskHead', 'ConformerHead')


class BackboneFeatures(nn.Module):
    """A model's backbone alone.

    Args:
        backbone: A module that returns a tuple of tensors.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From normalised images (B, 3, H, W) to the backbone's outputs."""
        return tuple(output.float() for output in self.backbone(in_type_of(self, images)))


class ClassifierLogits(nn.Module):
    """A classifier up to its logits.

    Args:
        classifier: A classifier of mmpretrain.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """From normalised images (B, 3, H, W) to logits (B, classes)."""
        return (self.classifier(in_type_of(self, images), mode='tensor').float(),)


class SegmentorLabels(nn.Module):
    """A segmentor up to the class of each pixel.

    Args:
        segmentor: A segmentor of mmseg that looks at whole images (`test_cfg.mode='whole'`).
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """From normalised images (B, 3, H, W) to logits (B, classes, H, W) and labels (B, H, W) int64."""
        segmentor: Any = self.segmentor
        size = tuple(images.shape[-2:])
        known = dict(img_shape=size, pad_shape=size, ori_shape=size)
        logits = segmentor.encode_decode(in_type_of(self, images), [known]).float()
        if logits.shape[1] > 1:
            return logits, logits.argmax(1)
        return logits, (logits[:, 0].sigmoid() > segmentor.decode_head.threshold).long()


def default_part(student: nn.Module) -> str:
    """What a student predicts, as a part of `inference_graph`; 'backbone' where it predicts nothing."""
    if isinstance(student, ImageClassifier):
        return 'classifier' if student.with_head else 'backbone'
    if hasattr(student, 'encode_decode'):
        return 'segmentor'
    # Not by its heads: a Mask2Former has none that a RetinaNet has.
    of_mmdet = any(kind.__module__.startswith('mmdet.') for kind in type(student).__mro__)
    return 'detector' if of_mmdet else 'backbone'


def inference_graph(student: nn.Module, part: str, box_masks: bool = False) -> tuple[nn.Module, list[str]]:
    """The part of a student that is to be exported, and the names of its outputs.

    Args:
        student: The return value of `ExportedStudent.build`.
        part: 'classifier' for logits; 'detector' for boxes, scores, labels and, where the detector has them,
            masks, after NMS; 'segmentor' for logits and labels; 'backbone' for feature maps or tokens, one
            for each of `out_indices`.
        box_masks: Of a detector: masks of the boxes, and not of the image. Defaults to False.

    Raises:
        ValueError: If the student has no such part, or it cannot be exported.
    """
    backbone: Any
    if part not in PARTS:
        raise ValueError(f'part={part!r} is unknown; choose from {PARTS}')
    reason = unfit(student, part)
    if reason is not None:
        raise ValueError(f"part={part!r} {reason}; or use part='backbone'")
    if part == 'classifier':
        return ClassifierLogits(student).eval(), ['logits']
    if part == 'segmentor':
        return SegmentorLabels(student).eval(), ['logits', 'labels']
    if part == 'detector':
        from .detections import Detections

        detections = Detections(student, box_masks).eval()
        return detections, detections.names
    backbone = student.backbone
    graph = BackboneFeatures(backbone).eval()
    # What does not say has feature maps, as CNNs do.
    name, indices = OUTPUTS[getattr(backbone, 'out_type', 'featmap')], getattr(backbone, 'out_indices', None)
    if indices is None:
        # timm's, HRNet: their outputs are counted.
        size = to_2tuple(getattr(backbone, 'img_size', USUAL_SIZE))
        with torch.no_grad():
            indices = range(len(graph(next(graph.parameters()).new_zeros(1, 3, *size))))
    return graph, [name] if len(indices) == 1 else [f'{name}_{index}' for index in indices]


def to_half(graph: nn.Module) -> nn.Module:
    """A copy of a graph whose modules compute in float16, weights included.

    Input and outputs stay float32, and so does what a detector does with boxes and scores.

    Args:
        graph: A graph of `inference_graph`.
    """
    half = deepcopy(graph).half()
    for module in half.modules():
        # Swin makes the masks of its shifted windows in float32 for each forward pass.
        if type(module).__name__ == 'WindowMSA':
            module.register_forward_pre_hook(in_half, with_kwargs=True)
    return half


def in_half(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of a module, tensors in float16; a forward pre-hook."""
    args, kwargs = tree_map_only(Tensor, Tensor.half, (args, kwargs))
    return args, kwargs


@torch.no_grad()
def not_in_half(half: nn.Module, images: Tensor) -> str | None:
    """Which module of a graph meets float32 where it computes in float16, in words; None where none does.

    Args:
        half: the return value of `to_half`.
        images: normalised images (B, 3, H, W).
    """
    entered: list[str] = []
    hooks = []

    def leave(*_: Any) -> None:
        entered.pop()

    for name, module in half.named_modules():
        named = f'{name or "the graph"} ({type(module).__name__})'
        hooks.append(module.register_forward_pre_hook(lambda *_, named=named: entered.append(named)))
        hooks.append(module.register_forward_hook(leave))
    try:
        half(images)
    except RuntimeError as error:
        # The CPU may lack what a GPU computes, and an export needs neither.
        if 'Half' not in str(error) or 'not implemented' in str(error):
            return None
        # The innermost that began and did not end.
        return f'{entered[-1]} cannot compute in float16 ({str(error).strip().splitlines()[0]})'
    finally:
        for hook in hooks:
            hook.remove()
    return None


def unfit(student: nn.Module, part: str) -> str | None:
    """Why a student has no such part, or it cannot be exported; None where it can."""
    kind = type(student).__name__
    if part == 'classifier' and default_part(student) != part:
        return f'needs an ImageClassifier with a head, got a {kind}'
    if part == 'classifier' and type(student.head).__name__ in HEADS_OF_MANY:
        return f'needs a head that gives scores of one task, got a {type(student.head).__name__}'
    if part == 'segmentor':
        if default_part(student) != part:
            return f'needs a segmentor of mmseg, got a {kind}'
        test_cfg: Any = student.test_cfg
        if test_cfg.get('mode', 'whole') != 'whole':
            return "needs whole images: set model.test_cfg.mode='whole'"
    if part == 'detector':
        if default_part(student) != part:
            return f'needs a detector of mmdet, got a {kind}'
        from .detections import refusal

        reason = refusal(student)
        return reason and f'cannot export {reason}'
    return None


def to_torch_export(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """Export a graph for `torch.export.save`.

    Args:
        graph: A graph of `inference_graph`.
        shape: (H, W) of the images in pixels.
        batch: The number of images. Defaults to None: any.

    Raises:
        ValueError: If it should take any number of images, and code of the model makes it one number.
    """
    # It takes its time, and torch.export needs it anyway.
    from torch._dynamo.exc import UserError, UserErrorType

    images = torch.zeros(batch or 2, 3, *shape)
    try:
        return torch.export.export(graph, (images,), dynamic_shapes={'images': {} if batch else {0: BATCH}})
    except UserError as error:
        if batch is not None or error.error_type != UserErrorType.CONSTRAINT_VIOLATION:
            raise
        raise ValueError(
            'code of the model fixes the number of images, as that of Swin does: export it for one number, '
            '--batch N'
        ) from error


def to_onnx(
    program: torch.export.ExportedProgram, names: Sequence[str], opset: int | None = None
) -> torch.onnx.ONNXProgram:
    """Translate an exported graph to ONNX. Needs onnx and onnxscript.

    Args:
        program: The return value of `to_torch_export`.
        names: Names of the outputs; the input is named `images`.
        opset: The opset of ONNX. Defaults to None: torch's default.
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
    # The old exporter alone returns None.
    assert onnx is not None
    return onnx


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors over the largest absolute value expected.

    It is infinite where either holds values that are not finite.

    Raises:
        ValueError: If their shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f'the shapes differ: {tuple(found.shape)} instead of {tuple(expected.shape)}')
    if not (found.isfinite().all() and expected.isfinite().all()):
        return inf
    difference = (found - expected).abs().max() / expected.abs().max()
    # Zeros alone in both are no difference.
    return difference.nan_to_num(0.0, posinf=inf).item()
