"""Graphs of ONNX in half precision."""

from __future__ import annotations

import ast
from typing import Any

# What torch notes of the modules that a node lies in, from the graph itself inwards, and of its own name.
SCOPES = 'pkg.torch.onnx.name_scopes'


def to_half(model: Any) -> Any:
    """Let a student's modules compute in float16, weights included. Needs onnxruntime.

    Input and outputs stay float32, and so does what lies in no module of the student: the boxes of a
    detector, NMS, pooling by boxes, and masks as they are put into images.

    Args:
        model: An `onnx.ModelProto` that torch has written, as `to_onnx` gives it; it is changed.

    Returns:
        The new `onnx.ModelProto`.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    outside = [node.name for node in model.graph.node if not lies_in_a_module(node)]
    return convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)


def lies_in_a_module(node: Any) -> bool:
    """Whether a node comes from a module of the student, and not from the graph around it."""
    noted = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    return bool(noted) and any('.' in scope for scope in ast.literal_eval(noted[0])[1:-1])
