"""Export of trained students to slim weights, timm, ONNX, torch.export and TensorRT.

This package may import models, datasets and engine.
"""

from .agreement import (
    FLOAT16,
    FLOAT32,
    Agreement,
    Detections,
    Tolerance,
    detector_agreement,
    merge_agreements,
    output_agreement,
    predict_detections,
    split_detections,
)
from .graph_ops import paste_masks
from .inference_graph import (
    PARTS,
    default_part,
    half_error,
    inference_graph,
    relative_difference,
    to_half,
    to_onnx,
    to_torch_export,
)
from .run_config import model_config, slim_config
from .slim_student import ExportedStudent, export_student, slim_model
from .tensorrt import build_engine, tensorrt_issues, write_engine
from .timm_export import build_timm, timm_difference, to_timm

__all__ = [
    'Agreement',
    'ExportedStudent',
    'FLOAT16',
    'FLOAT32',
    'Detections',
    'PARTS',
    'Tolerance',
    'build_engine',
    'build_timm',
    'default_part',
    'detector_agreement',
    'export_student',
    'half_error',
    'inference_graph',
    'merge_agreements',
    'model_config',
    'output_agreement',
    'paste_masks',
    'predict_detections',
    'relative_difference',
    'slim_config',
    'slim_model',
    'split_detections',
    'tensorrt_issues',
    'timm_difference',
    'to_half',
    'to_onnx',
    'to_timm',
    'to_torch_export',
    'write_engine',
]
