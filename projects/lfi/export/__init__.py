"""Trained students as other programs read them: slim weights, timm, ONNX, torch.export, TensorRT.

It may import models, datasets and engine.
"""

from .agreement import (
    FLOAT16,
    FLOAT32,
    Agreement,
    Detected,
    Tolerance,
    detected,
    detector_agreement,
    output_agreement,
    predicted,
    together,
)
from .graph_ops import paste_masks
from .inference_graph import (
    PARTS,
    default_part,
    inference_graph,
    not_in_half,
    relative_difference,
    to_half,
    to_onnx,
    to_torch_export,
)
from .run_config import model_config, slim_config
from .slim_student import ExportedStudent, export_student, slim_model
from .tensorrt import build_engine, tensorrt_doubts, write_engine
from .timm_export import build_timm, timm_difference, to_timm

__all__ = [
    'Agreement',
    'Detected',
    'ExportedStudent',
    'FLOAT16',
    'FLOAT32',
    'PARTS',
    'Tolerance',
    'build_engine',
    'build_timm',
    'default_part',
    'detected',
    'detector_agreement',
    'export_student',
    'inference_graph',
    'model_config',
    'not_in_half',
    'output_agreement',
    'paste_masks',
    'predicted',
    'relative_difference',
    'slim_config',
    'slim_model',
    'tensorrt_doubts',
    'timm_difference',
    'to_half',
    'to_onnx',
    'to_timm',
    'to_torch_export',
    'together',
    'write_engine',
]
