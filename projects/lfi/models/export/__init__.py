"""Trained students without what inference does not need, in the formats that other programs read."""

from .graphs import inference_graph, relative_difference, to_onnx, to_torch_export
from .query_student import query_student
from .run_config import model_config, slim_config
from .student import ExportedStudent, export_student, slim_model
from .timm_export import build_timm, timm_difference, to_timm

__all__ = [
    'ExportedStudent',
    'build_timm',
    'export_student',
    'inference_graph',
    'model_config',
    'query_student',
    'relative_difference',
    'slim_config',
    'slim_model',
    'timm_difference',
    'to_onnx',
    'to_timm',
    'to_torch_export',
]
