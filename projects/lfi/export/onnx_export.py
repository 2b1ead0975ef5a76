"""Graphs of a student as files of ONNX and torch.export, compared with PyTorch."""

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
from lfi.models.batches.pixel_format import pixel_format
from lfi.utils.folders import make_folder

from .agreement import (
    FLOAT16,
    FLOAT32,
    Agreement,
    Tolerance,
    detected,
    detector_agreement,
    output_agreement,
    predicted,
    together,
)
from .inference_graph import default_part, inference_graph, not_in_half, to_half, to_onnx, to_torch_export
from .sample_images import sample_images
from .slim_student import load_student

NEEDED = ('onnx', 'onnxscript', 'onnxruntime')
BATCHES = (1, 3)
"""Numbers of images on which a graph for any number is compared."""

Exported = Callable[[Tensor], Sequence[Tensor]]
"""An export, from normalised images (B, 3, H, W) to its outputs."""


def require_onnx() -> None:
    """Raise a UsageError that names what is not installed of ONNX."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'lfi[export]'")


def student_for_graphs(
    cfg: Config, checkpoint: str, shape: Sequence[int] | None
) -> tuple[Any, tuple[int, int]]:
    """The slim student of a training in eval mode, and the height and width of its images.

    Args:
        cfg: config of the training.
        checkpoint: a file or URL.
        shape: height and width in pixels; None for those of the backbone.

    Raises:
        UsageError: as `load_student`, or if no size is known.
    """
    student: Any = load_student(cfg, read_checkpoint(checkpoint)).build()
    shape = shape or getattr(student.backbone, 'img_size', None)
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


@torch.no_grad()
def compare(
    student: nn.Module,
    graph: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    exported: Exported,
    tolerance: Tolerance,
    path: Path,
) -> None:
    """Print how far an export gives what PyTorch gives.

    Args:
        student: as of `compared_outputs`.
        graph: as of `compared_outputs`.
        names: as of `compared_outputs`.
        batches: normalised images.
        exported: the export.
        tolerance: as of `compared_outputs`.
        path: where the export's file will be.

    Raises:
        UsageError: if it gives something else.
    """
    found = together(
        [compared_outputs(student, graph, names, images, exported(images), tolerance) for images in batches]
    )
    for line in found.lines:
        print(f'{path.name}, {line}')
    if not found.holds:
        raise UsageError(
            f'{path} was not written: its outputs differ from those of PyTorch by more than {tolerance}'
        )
    if not found.compared:
        print(f'{path.name} was not compared, since nothing is found in these images: give --images FOLDER')


class GraphExport:
    """A student's graph, and the images on which its exports are compared with PyTorch.

    Args:
        student: as `student_for_graphs` gives it.
        shape: height and width of the images in pixels.
        part: of the student, as of `inference_graph`; None for what it predicts.
        batch: a fixed number of images; None for any.
        box_masks: whether a detector's masks are those of its boxes, and not of the image.
        folder: images to compare on; None for drawn ones.

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
        self.graph, self.names = graph_of(student, part or default_part(student), box_masks)
        self.pixels = pixel_format(student.data_preprocessor)
        batches = BATCHES if batch is None else (batch,)
        self.images = [sample_images(size, shape, self.pixels, folder) for size in batches]

    def write_onnx(self, out: Path, half: bool, opset: int | None) -> None:
        """Write an ONNX file, and compare it with PyTorch.

        Args:
            out: the file.
            half: whether it computes in float16.
            opset: version of ONNX's operators; None for torch's own choice.

        Raises:
            UsageError: if it cannot be written, or gives something else than PyTorch.
        """
        make_folder(out.parent, 'out')
        program = (half_program_of if half else program_of)(self.graph, self.shape, self.batch)
        with replaced_when_done(out) as path:
            write_onnx(program, self.names, opset, path)
            self._compare(onnx_runner(path), FLOAT16 if half else FLOAT32, out)
        self._say(out)

    def write_torch_export(self, out: Path) -> None:
        """Write a file of `torch.export`, and compare it with PyTorch. Errors as of `write_onnx`."""
        make_folder(out.parent, 'out')
        with replaced_when_done(out) as path:
            torch.export.save(program_of(self.graph, self.shape, self.batch), path)
            self._compare(torch.export.load(path).module(), FLOAT32, out)
        self._say(out)

    def _compare(self, exported: Exported, tolerance: Tolerance, path: Path) -> None:
        compare(self.student, self.graph, self.names, self.images, exported, tolerance, path)

    def _say(self, out: Path) -> None:
        height, width = self.shape
        print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB).')
        print(
            f'Images: {"RGB" if self.pixels.rgb else "BGR"}, {height} x {width}, values 0 to 255, less '
            f'{rounded(self.pixels.mean)}, divided by {rounded(self.pixels.std)}.'
        )


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """A path to write to, whose files replace those of an older export where all went well."""
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        yield Path(folder, path.name)
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)


def rounded(values: Sequence[float]) -> str:
    """Values for a message."""
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
