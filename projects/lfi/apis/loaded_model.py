"""Trained models for Python: answers, predictions, export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from torch import nn

from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.config_loading import load_config
from lfi.engine.run_folder import best_checkpoint, config_beside
from lfi.engine.run_options import require_checkpoint
from lfi.errors import UsageError, as_usage_error, did_you_mean
from lfi.export import onnx_export, student_files
from lfi.hub import save_pretrained
from lfi.student_folder import read_config
from lfi.utils.repositories import MANIFEST, is_student, local_folder

from .image_answers import Drawable, ImageAnswer, ImageAnswers
from .image_inputs import ImageInputs, Images, image_inputs
from .interaction_inferencer import InteractionInferencer
from .interaction_result import InteractionResult
from .python_messages import python_messages

SUFFIXES = {
    'student': ('.pth', '.safetensors'),
    'timm': ('.pth', '.safetensors'),
    'onnx': ('.onnx',),
    'torch-export': ('.pt2',),
}
"""Suffixes of the exported files by format; the first format with a suffix is its default."""

Source = str | Path | tuple[str | Path | Config, str | Path]
USER_ERRORS = (ImportError, OSError, RuntimeError, ValueError)


class Model:
    """Trained model that predicts, and answers texts if it learnt from interactions.

    `load` and `train` make it. An image is a path or an address, an array (H, W, 3) uint8 in RGB order, or a
    PIL image; images may also be a list of these, a folder or a video.

    Args:
        config: config of the training, or of a saved student.
        checkpoint: checkpoint, or the folder or repository of a saved student.
        device: device of the model. Defaults to None: a GPU if there is one.
        templates: prompts with {} for the text. Defaults to None: the teacher's own.

    Raises:
        UsageError: if config and checkpoint do not fit.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str | Path,
        device: str | None = None,
        templates: Sequence[str] | None = None,
    ) -> None:
        self.config, self.checkpoint = config, str(checkpoint)
        with as_usage_error(*USER_ERRORS):
            self.inferencer = InteractionInferencer(config, checkpoint, device, templates)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the task, by label."""
        return self.inferencer.classes

    @property
    def module(self) -> nn.Module:
        """The PyTorch module."""
        module: nn.Module = self.inferencer.model
        return module

    def ask(
        self, images: Images, texts: str | Sequence[str] | None = None, *, batch_size: int = 8
    ) -> ImageAnswer | ImageAnswers:
        """Ask whether images show texts, and where.

        Args:
            images: an image, or several; see the class.
            texts: texts to ask about. Defaults to None: the classes of the training.
            batch_size: images in a batch. Defaults to 8.

        Returns:
            An `ImageAnswer` for one image, else a list of them. It also holds the prediction.

        Raises:
            UsageError: if an image cannot be read, the model has no read-out, or the teacher is not
                available, whose text tower embeds texts.

        Example:
            >>> model.ask('photo.jpg', ['goldfish', 'red car']).show()
        """
        texts = [texts] if isinstance(texts, str) else texts
        inputs = image_inputs(images)
        with as_usage_error(*USER_ERRORS):
            results = self.inferencer.stream(inputs.sources, texts, batch_size)
        return self._answers(inputs, results)

    def predict(self, images: Images, *, batch_size: int = 8) -> ImageAnswer | ImageAnswers:
        """Predict by the head of the task, without texts; arguments and errors as in `ask`."""
        inputs = image_inputs(images)
        with as_usage_error(*USER_ERRORS):
            results = self.inferencer.stream_predictions(inputs.sources, batch_size)
        return self._answers(inputs, results)

    def show(self, images: Images, texts: str | Sequence[str] | None = None) -> None:
        """Show the answers about images, see `Drawable.show`; arguments and errors as in `ask`."""
        answers: Drawable = self.ask(images, texts)
        answers.show()

    @python_messages
    def export(self, out: str | Path, *, to: str | None = None, shape: tuple[int, int] | None = None) -> Path:
        """Write the student without its interactions as `lfi export` does, and compare it with PyTorch.

        Args:
            out: file to write: .pth or .safetensors weights, an .onnx graph, or a .pt2 graph of torch.export.
            to: format: 'student' for OpenMMLab, 'timm', 'onnx' or 'torch-export'. Defaults to None: by the
                suffix of `out`, 'student' for weights.
            shape: height and width in pixels of a graph's images. Defaults to None: those of the backbone, or
                of the test pipeline's crop.

        Returns:
            The file.

        Raises:
            UsageError: if the format and the suffix do not fit, the student cannot be exported, or the file
                differs from PyTorch.
        """
        out = Path(out)
        format_ = to or next((name for name, known in SUFFIXES.items() if out.suffix in known), None)
        if format_ not in SUFFIXES:
            hint = f' ({did_you_mean(to, SUFFIXES)})' if to and did_you_mean(to, SUFFIXES) else ''
            problem = f'to={to!r} is unknown{hint}' if to else f'out={str(out)!r} has an unknown suffix'
            formats = ', '.join(f'{name} ({" or ".join(known)})' for name, known in SUFFIXES.items())
            raise UsageError(f'{problem}: choose from {formats}')
        if out.suffix not in SUFFIXES[format_]:
            raise UsageError(
                f'out={str(out)!r}: the format {format_} takes a {" or ".join(SUFFIXES[format_])} file'
            )
        with safe_checkpoint_loading():
            if format_ in ('student', 'timm'):
                write = student_files.write_timm if format_ == 'timm' else student_files.write_student
                write(self.config, self.checkpoint, out, self.config.filename or '')
                return out
            if format_ == 'onnx':
                onnx_export.require_onnx()
            student, size = onnx_export.student_for_graphs(self.config, self.checkpoint, shape)
        graph = onnx_export.GraphExport(student, size, None, None, False, None)
        write_graph = partial(graph.write_onnx, half=False, opset=None)
        (write_graph if format_ == 'onnx' else graph.write_torch_export)(out)
        return out

    def save(
        self,
        folder: str | Path,
        *,
        text_tower: bool | None = None,
        model_card: Mapping[str, Any] = MappingProxyType({}),
    ) -> Path | str:
        """Write the student as a folder that `lfi.load` and all commands read, see `lfi.save_pretrained`.

        Args:
            folder: folder to write; created if missing. Or an address in a store, `s3://bucket/student`.
            text_tower: whether to store the teacher's text tower, with which the student answers any text
                without its teacher. Defaults to None: a student that was saved with it keeps it; others
                answer the texts of their training.
            model_card: further YAML fields of the card, such as `license`. Defaults to none.

        Returns:
            The folder, or its address.

        Raises:
            UsageError: if the folder has other files of the same names, or the student cannot be saved.
        """
        config = None if is_student(self.checkpoint) else self.config
        return save_pretrained(
            self.checkpoint, folder, config=config, text_tower=text_tower, model_card=model_card
        )

    def _answers(
        self, inputs: ImageInputs, results: Iterable[InteractionResult]
    ) -> ImageAnswer | ImageAnswers:
        answers = ImageAnswers(ImageAnswer(result, self.classes) for result in results)
        inputs.check_read(self.inferencer.skipped)
        return answers[0] if inputs.single else answers

    def __repr__(self) -> str:
        kind = type(self.module).__name__
        names = ' | '.join(self.classes[:5]) + (' | …' if len(self.classes) > 5 else '')
        classes = f', {len(self.classes)} classes: {names}' if self.classes else ''
        return f'Model({self.checkpoint!r}, {kind}{classes})'


@python_messages
def load(source: Source, *, device: str | None = None, templates: Sequence[str] | None = None) -> Model:
    """Load a trained model.

    Code in a checkpoint is never run.

    Args:
        source: folder of a run, whose best checkpoint is loaded, or else its last; a checkpoint with its
            config beside it; a student's folder or repository of `lfi.save_pretrained` (`hf://user/name`), or
            its address in a store (`s3://bucket/student`);
            or (config, checkpoint), where the config is a file, the name of one of LFI's, or a `Config`.
        device: device of the model, such as 'cpu' or 'cuda:1'. Defaults to None: a GPU if there is one.
        templates: prompts with {} for the texts. Defaults to None: the teacher's own.

    Raises:
        UsageError: if nothing can be loaded from `source`, or config and checkpoint do not fit.

    Example:
        >>> model = lfi.load('work_dirs/photos')
        >>> model.ask('photo.jpg', ['barn', 'red car'])
    """
    config, checkpoint = _find(source)
    return Model(config, checkpoint, device, templates)


def _find(source: Source) -> tuple[Config, str]:
    """Return the config and the checkpoint of a source of `load`."""
    if isinstance(source, tuple):
        if len(source) != 2:
            raise UsageError(f'source has {len(source)} parts: a tuple must be (config, checkpoint)')
        config, checkpoint = source[0], str(source[1])
        require_checkpoint(checkpoint)
        return config if isinstance(config, Config) else load_config(str(config)), checkpoint
    if is_student(source):
        return read_config(local_folder(source)), str(source)
    if '://' in str(source):
        raise UsageError(f'source={str(source)!r} is an address: give its config too, (config, address)')
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(
            f'source={str(source)!r} does not exist: give a folder of a run or of lfi.save_pretrained, a '
            'checkpoint, or (config, checkpoint)'
        )
    if (path / MANIFEST).is_file():
        raise UsageError(f'{path} is a cache and no model: lfi.from_pretrained opens it')
    if path.suffix == '.py':
        raise UsageError(f'{path} is a config, which has no weights: give (config, checkpoint)')
    checkpoint_file = best_checkpoint(path) if path.is_dir() else path
    return load_config(str(config_beside(checkpoint_file))), str(checkpoint_file)
