"""Export of a student's graph to ONNX and torch.export files, with a comparison against PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from lfi.engine.checkpoints.weight_files import read_checkpoint
from lfi.errors import UsageError, as_usage_error
from lfi.models.batches.pixel_format import pixel_format_of
from lfi.utils.config_types import leaf_configs, type_name
from lfi.utils.folders import make_folder

from .agreement import (
    FLOAT16,
    FLOAT32,
    Agreement,
    Tolerance,
    detector_agreement,
    merge_agreements,
    output_agreement,
    predict_detections,
    split_detections,
)
from .inference_graph import default_part, half_error, inference_graph, to_half, to_onnx, to_torch_export
from .sample_images import sample_images
from .slim_student import export_checkpoint

REQUIRED_PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')
BATCHES = (1, 3)
"""Batch sizes on which a graph with a dynamic batch is compared."""

ExportedModel = Callable[[Tensor], Sequence[Tensor]]
"""Function that runs an export, from normalised images (B, 3, H, W) to its outputs."""


def require_onnx() -> None:
    """Raise a UsageError if a package of ONNX is missing."""
    missing = [name for name in REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'lfi[export]'")


def student_for_graphs(
    cfg: Config, checkpoint: str, shape: Sequence[int] | None
) -> tuple[Any, tuple[int, int]]:
    """Build a trained student in eval mode, as its slim model; return it with its images' height and width.

    Args:
        cfg: config of the training.
        checkpoint: file or URL of the checkpoint.
        shape: height and width in pixels; None for the backbone's `img_size`, or the test pipeline's crop.

    Raises:
        UsageError: if the student cannot be exported, config and checkpoint do not fit, or `shape` is None
            and neither backbone nor test pipeline has a size.
    """
    student: Any = export_checkpoint(cfg, read_checkpoint(checkpoint)).build()
    shape = shape or getattr(student.backbone, 'img_size', None) or _crop_size(cfg)
    if shape is None:
        raise UsageError(f'a {type(student.backbone).__name__} takes images of any size: set --shape H W')
    return student, (int(shape[0]), int(shape[1]))


def _crop_size(cfg: Config) -> tuple[int, int] | None:
    """Return height and width of the images of a test pipeline that crops; None for another pipeline."""
    loader = cfg.get('test_dataloader')
    steps = [] if loader is None else next(leaf_configs(loader.dataset)).get('pipeline') or []
    sizes = [step['crop_size'] for step in steps if type_name(step) == 'CenterCrop' and 'crop_size' in step]
    if not sizes:
        return None
    return (sizes[-1], sizes[-1]) if isinstance(sizes[-1], int) else tuple(sizes[-1])


def build_graph(student: nn.Module, part: str, box_masks: bool = False) -> tuple[nn.Module, list[str]]:
    """Call `inference_graph`, and raise its ValueError as a UsageError."""
    with as_usage_error(ValueError):
        return inference_graph(student, part, box_masks)


def export_program(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """Call `to_torch_export`, and raise its ValueError as a UsageError."""
    with as_usage_error(ValueError):
        return to_torch_export(graph, shape, batch)


def export_half_program(
    graph: nn.Module, shape: tuple[int, int], batch: int | None = None
) -> torch.export.ExportedProgram:
    """Export a graph in float16, as `export_program` does.

    Raises:
        UsageError: if the graph cannot be exported, or a module receives float32 tensors.
    """
    half = to_half(graph)
    # Without this check, torch.export may raise no error, but write a file that cannot be loaded.
    reason = half_error(half, torch.zeros(batch or 2, 3, *shape))
    if reason is not None:
        raise UsageError(
            f"{reason}: the model's code creates float32 constants. Create them in the input's dtype, or "
            'export in float32, without --fp16 or onnx-fp16'
        )
    return export_program(half, shape, batch)


def write_onnx(
    program: torch.export.ExportedProgram, names: Sequence[str], opset: int | None, path: Path
) -> None:
    """Write an exported graph as an ONNX file.

    Raises:
        UsageError: if torch cannot write the opset.
    """
    # These packages log each constant that they do not fold.
    for name in ('onnxscript', 'onnx_ir'):
        logging.getLogger(name).setLevel(logging.WARNING)
    onnx = to_onnx(program, names, opset)
    written_opset = onnx.model.opset_imports['']
    if opset is not None and written_opset != opset:
        raise UsageError(f'--opset {opset}: torch could only write opset {written_opset}')
    # The weights of large models go into a second file.
    onnx.save(path)
    print(f'{path.name}: opset {written_opset}.')


def onnx_runner(path: Path, threads: int = 0, device: str = 'cpu') -> ExportedModel:
    """Load an ONNX file in onnxruntime, and return a function that runs it.

    Args:
        path: ONNX file.
        threads: number of CPU threads. Defaults to 0: onnxruntime's default.
        device: 'cpu' or 'cuda'; images may be on either. Defaults to 'cpu'.

    Raises:
        UsageError: if onnxruntime does not support the device.
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
def compare_outputs(
    student: Any,
    graph: nn.Module,
    names: Sequence[str],
    images: Tensor,
    outputs: Sequence[Tensor],
    tolerance: Tolerance,
) -> Agreement:
    """Compare the outputs of an export with those of PyTorch.

    Args:
        student: student of the graph; a detector's `predict` returns the expected detections.
        graph: graph from `inference_graph`.
        names: names of the graph's outputs.
        images: (B, 3, H, W), normalised images.
        outputs: outputs of the export for these images.
        tolerance: limits of the differences.
    """
    if 'boxes' not in names:
        return output_agreement(names, outputs, graph(images), tolerance)
    size = images.shape[-2:]
    mask_thr = student.roi_head.test_cfg.mask_thr_binary if 'masks' in names else 0.0
    detections = split_detections(outputs, size, mask_thr)
    return detector_agreement(detections, predict_detections(student, images), max(size), tolerance)


@torch.no_grad()
def check_export(
    student: nn.Module,
    graph: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    exported: ExportedModel,
    tolerance: Tolerance,
    path: Path,
) -> None:
    """Print the differences between the outputs of an export and of PyTorch, and check that they are small.

    Args:
        student: student of the graph.
        graph: graph from `inference_graph`.
        names: names of the graph's outputs.
        batches: batches of normalised images, each (B, 3, H, W).
        exported: function that runs the export.
        tolerance: limits of the differences.
        path: final path of the export, for messages.

    Raises:
        UsageError: if the outputs differ by more than the tolerance.
    """
    agreement = merge_agreements(
        [compare_outputs(student, graph, names, images, exported(images), tolerance) for images in batches]
    )
    for line in agreement.lines:
        print(f'{path.name}, {line}')
    if not agreement.holds:
        raise UsageError(
            f'{path} was not written: its outputs differ from those of PyTorch by more than {tolerance}'
        )
    if not agreement.compared:
        print(f'{path.name} was not compared: there are no detections in these images. Set --images FOLDER')


class GraphExport:
    """Graph of a student, and the images on which its exports are compared with PyTorch.

    Args:
        student: student from `student_for_graphs`.
        shape: height and width of the images, in pixels.
        part: part of the student in the graph, one of `PARTS`; None for `default_part`.
        batch: fixed number of images; None for any number.
        box_masks: whether a detector returns each mask within its box, not pasted into the image.
        folder: folder of images to compare on; None for test images of Shapes.

    Raises:
        UsageError: if the student has no such part, or the folder has no image.
    """

    def __init__(
        self,
        student: Any,
        shape: tuple[int, int],
        part: str | None,
        batch: int | None,
        box_masks: bool,
        folder: Path | None,
    ) -> None:
        self.student, self.shape, self.batch = student, shape, batch
        self.graph, self.names = build_graph(student, part or default_part(student), box_masks)
        self.pixel_format = pixel_format_of(student.data_preprocessor)
        batches = BATCHES if batch is None else (batch,)
        self.images = [sample_images(size, shape, self.pixel_format, folder) for size in batches]

    def write_onnx(self, out: Path, half: bool, opset: int | None) -> None:
        """Write an ONNX file, and compare it with PyTorch.

        Args:
            out: file to write.
            half: whether the graph computes in float16.
            opset: opset of ONNX; None for torch's default.

        Raises:
            UsageError: if the graph cannot be exported, or its outputs differ from PyTorch's.
        """
        make_folder(out.parent, 'out')
        program = (export_half_program if half else export_program)(self.graph, self.shape, self.batch)
        with replace_on_success(out) as path:
            write_onnx(program, self.names, opset, path)
            self._check(onnx_runner(path), FLOAT16 if half else FLOAT32, out)
        self._print_summary(out)

    def write_torch_export(self, out: Path) -> None:
        """Write a `torch.export` file, and compare it with PyTorch. Raises the errors of `write_onnx`."""
        make_folder(out.parent, 'out')
        with replace_on_success(out) as path:
            torch.export.save(export_program(self.graph, self.shape, self.batch), path)
            self._check(torch.export.load(path).module(), FLOAT32, out)
        self._print_summary(out)

    def _check(self, exported: ExportedModel, tolerance: Tolerance, path: Path) -> None:
        check_export(self.student, self.graph, self.names, self.images, exported, tolerance, path)

    def _print_summary(self, out: Path) -> None:
        height, width = self.shape
        print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB).')
        print(
            f'Images: {"RGB" if self.pixel_format.rgb else "BGR"}, {height} x {width}, values 0 to 255, minus'
            f' {format_values(self.pixel_format.mean)}, divided by {format_values(self.pixel_format.std)}.'
        )


@contextmanager
def replace_on_success(path: Path) -> Iterator[Path]:
    """Yield a path in a temporary folder.

    If no error is raised, the files of this folder replace those of an older export beside `path`.
    """
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        yield Path(folder, path.name)
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)


def format_values(values: Sequence[float]) -> str:
    """Format values for a message."""
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
