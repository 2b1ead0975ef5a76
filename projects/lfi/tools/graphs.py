"""What a student is exported as, written, run and compared with PyTorch."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from lfi.engine.config_loading import load_config
from lfi.errors import UsageError, as_usage_error
from lfi.models.export import (
    Agreement,
    ExportedStudent,
    Tolerance,
    detected,
    detector_agreement,
    export_student,
    inference_graph,
    model_config,
    not_in_half,
    output_agreement,
    predicted,
    to_half,
    to_onnx,
    to_torch_export,
)

from .weight_files import read_checkpoint

NEEDED = ('onnx', 'onnxscript', 'onnxruntime')

Exported = Callable[[Tensor], Sequence[Tensor]]
"""An export, from normalised images (B, 3, H, W) to its outputs."""


def require_onnx() -> None:
    """Raise a UsageError that names what is not installed of ONNX."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'lfi[export]'")


def load_student(cfg: Config, checkpoint: dict) -> ExportedStudent:
    """Make the slim student of a run's config and checkpoint, and set the config's default scope.

    Raises:
        UsageError: If the student cannot be exported, or the two do not fit.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    if 'backbone' not in (cfg.get('model') or {}):
        raise UsageError('the config has no model.backbone: give the config of a training')
    with as_usage_error(ValueError):
        return export_student(checkpoint['state_dict'], model_config(cfg))


def load_for_graphs(args: Namespace) -> tuple[Any, tuple[int, int]]:
    """The student of a command line, slim and in eval mode, and the height and width of its images.

    Raises:
        UsageError: As for `load_student`, or if no size is known.
    """
    cfg = load_config(args.config, args.cfg_options)
    student: Any = load_student(cfg, read_checkpoint(args.checkpoint)).build()
    shape = args.shape or getattr(student.backbone, 'img_size', None)
    if shape is None:
        raise UsageError(f'a {type(student.backbone).__name__} takes images of any size: give --shape H W')
    return student, (int(shape[0]), int(shape[1]))


def graph_of(student: nn.Module, part: str, box_masks: bool = False) -> tuple[nn.Module, list[str]]:
    """`inference_graph`, whose mistakes are the user's."""
    with as_usage_error(ValueError):
        return inference_graph(student, part, box_masks)


def program_of(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """`to_torch_export`, whose mistakes are the user's."""
    with as_usage_error(ValueError):
        return to_torch_export(graph, shape, batch)


def half_program_of(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """`program_of` in float16.

    Raises:
        UsageError: As for `program_of`, or if a module meets float32 all the same.
    """
    half = to_half(graph)
    # torch.export itself may say nothing, and the file would not load.
    reason = not_in_half(half, torch.zeros(batch or 2, 3, *shape))
    if reason is not None:
        raise UsageError(
            f'{reason}: code of the model makes constants in float32. Let them take the type of the input, '
            'or export without float16 (--fp16, onnx-fp16)'
        )
    return program_of(half, shape, batch)


def write_onnx(
    program: torch.export.ExportedProgram, names: Sequence[str], opset: int | None, path: Path
) -> None:
    """Write an exported graph.

    Raises:
        UsageError: If torch cannot write the version of ONNX's operators that is asked for.
    """
    # They tell of each constant that they leave as it is.
    for name in ('onnxscript', 'onnx_ir'):
        logging.getLogger(name).setLevel(logging.WARNING)
    onnx = to_onnx(program, names, opset)
    found = onnx.model.opset_imports['']
    if opset is not None and found != opset:
        raise UsageError(f'--opset {opset}: torch could only write opset {found}')
    # Larger ones have their weights in a file beside them.
    onnx.save(path)
    print(f'{path.name}: opset {found}.')


def onnx_runner(path: Path, threads: int = 0, device: str = 'cpu') -> Exported:
    """A function that runs a file by onnxruntime.

    Args:
        path: The file.
        threads: How many of the CPU to use. Defaults to 0: onnxruntime's own choice.
        device: 'cpu' or 'cuda'; images may lie on either. Defaults to 'cpu'.

    Raises:
        UsageError: If this onnxruntime has no such device.
    """
    import onnxruntime

    provider = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}[device]
    if provider not in onnxruntime.get_available_providers():
        raise UsageError('this onnxruntime has no CUDA: pip install onnxruntime-gpu in its place')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=[provider])
    return lambda images: [
        torch.from_numpy(out).to(images.device) for out in session.run(None, {'images': images.cpu().numpy()})
    ]


@torch.no_grad()
def compared_outputs(
    student: Any,
    graph: nn.Module,
    names: Sequence[str],
    images: Tensor,
    outputs: Sequence[Tensor],
    tolerance: Tolerance,
) -> Agreement:
    """How far the outputs of an export are those of PyTorch.

    Args:
        student: The student; a detector's own `predict` is what its graph is compared with.
        graph: A graph of `inference_graph`, and `names` those of its outputs.
        names: See there.
        images: Normalised images.
        outputs: Of the export, for these images.
        tolerance: What counts as the same.
    """
    if 'boxes' not in names:
        return output_agreement(names, outputs, graph(images), tolerance)
    size = images.shape[-2:]
    mask_thr = student.roi_head.test_cfg.mask_thr_binary if 'masks' in names else 0.0
    found = detected(outputs, size, mask_thr)
    return detector_agreement(found, predicted(student, images), max(size), tolerance)
