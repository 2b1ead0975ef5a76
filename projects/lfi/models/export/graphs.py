"""Exported students as graphs of tensors, and the difference between a graph and its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

BATCH = torch.export.Dim('batch')
OUTPUTS = {
    'cls_token': 'class_token',
    'avg_featmap': 'mean_token',
    'featmap': 'feature_map',
    'raw': 'tokens',
}


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
        return self.backbone(images)


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
        return (self.classifier(images, mode='tensor'),)


def inference_graph(student: nn.Module, part: str) -> tuple[nn.Module, list[str]]:
    """The part of a student that is to be exported, and the names of its outputs.

    Args:
        student: The return value of `ExportedStudent.build`.
        part: 'classifier' for logits; 'backbone' for feature maps or tokens, one for each of `out_indices`.

    Raises:
        ValueError: If the student has no such part.
    """
    backbone: Any
    if part == 'classifier':
        if not (isinstance(student, ImageClassifier) and student.with_head):
            raise ValueError(
                f"part='classifier' needs an ImageClassifier with a head, got a {type(student).__name__}; "
                "use part='backbone'"
            )
        return ClassifierLogits(student).eval(), ['logits']
    if part != 'backbone':
        raise ValueError(f"part={part!r} is unknown; choose from ('classifier', 'backbone')")
    backbone = student.backbone
    # What does not say has feature maps, as CNNs do.
    name, indices = OUTPUTS[getattr(backbone, 'out_type', 'featmap')], backbone.out_indices
    names = [name] if len(indices) == 1 else [f'{name}_{index}' for index in indices]
    return BackboneFeatures(backbone).eval(), names


def to_onnx(
    graph: nn.Module, names: Sequence[str], shape: tuple[int, int], opset: int | None = None
) -> torch.onnx.ONNXProgram:
    """Export a graph as ONNX, for any batch size. Needs onnx and onnxscript.

    Args:
        graph: A graph of `inference_graph`.
        names: Names of its outputs; the input is named `images`.
        shape: (H, W) of the images in pixels.
        opset: The opset of ONNX. Defaults to None: torch's default.
    """
    program = torch.onnx.export(
        graph,
        (torch.zeros(2, 3, *shape),),
        input_names=['images'],
        output_names=list(names),
        opset_version=opset,
        dynamic_shapes={'images': {0: BATCH}},
        dynamo=True,
        verbose=False,
    )
    # The old exporter alone returns None.
    assert program is not None
    return program


def to_torch_export(graph: nn.Module, shape: tuple[int, int]) -> torch.export.ExportedProgram:
    """Export a graph for `torch.export.save`, for any batch size; arguments as of `to_onnx`."""
    return torch.export.export(graph, (torch.zeros(2, 3, *shape),), dynamic_shapes={'images': {0: BATCH}})


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors over the largest absolute value expected.

    Raises:
        ValueError: If their shapes differ, or values are not finite.
    """
    if found.shape != expected.shape:
        raise ValueError(f'the shapes differ: {tuple(found.shape)} instead of {tuple(expected.shape)}')
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if difference != difference:
        raise ValueError('the outputs hold values that are not finite')
    return difference
