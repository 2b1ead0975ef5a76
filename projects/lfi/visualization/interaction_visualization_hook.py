"""Pictures of interaction maps in training and in tests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dist import get_rank, master_only
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.model.utils import stack_batch
from mmengine.runner import Runner
from torch.utils.data import Dataset

from lfi.engine.processes import refuse_shards
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import HOOKS
from lfi.structures import InteractionMaps, StudentGrid, get_valid_sizes
from lfi.utils.matplotlib_settings import default_style
from lfi.utils.modules import eval_mode

from .figures import draw_answers, draw_detections, draw_interactions
from .fonts import set_fonts

# Largest number of images in a picture of a batch.
NUM_IMAGES = 4


@HOOKS.register_module()
class InteractionVisualizationHook(Hook):
    """Hook that adds pictures of training images with the maps of teacher and student to the visualizer.

    For each image, the picture shows the concept with the largest weight in the loss over locations. The hook
    supports every model that learns from `lfi.Interactions`, and cached teachers. With `texts`, the picture
    shows the student's maps of these texts, and no map of the teacher.

    Args:
        interval: number of iterations between two pictures, the first at the start. Defaults to 500.
        texts: texts to ask the student about. The text tower of the teacher embeds them once, at the first
            picture. Defaults to none.
        test_out_dir: folder for a picture of each test image, named by the path of the image below the
            `data_root` of its data set. `tools/test.py --show-dir` sets it. If the model or its teacher has
            no maps, the hook logs a warning and draws nothing. Defaults to None.

    Raises:
        ValueError: if `interval` is below 1, or `texts` is a string.
        TypeError: before training, if the model does not learn from interactions, or is sharded (FSDP).
    """

    def __init__(
        self,
        interval: int = 500,
        texts: Sequence[str] = (),
        test_out_dir: str | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval} must be at least 1')
        if isinstance(texts, str):
            raise ValueError(f'texts={texts!r} must be a list of texts')
        self.interval = interval
        self.texts = tuple(texts)
        self.test_out_dir = test_out_dir
        self._embeddings: torch.Tensor | None = None

    @property
    def asks_student(self) -> bool:
        """Whether the checkpoint must hold the read-out, see `lfi.InteractionMapsHook`."""
        return self.test_out_dir is not None

    def before_train(self, runner: Runner) -> None:
        """Check that the model learns from interactions and is not sharded."""
        refuse_shards(runner.model)
        if getattr(_model(runner), 'interactions', None) is None:
            raise TypeError(
                'InteractionVisualizationHook needs an lfi.Student that learns from lfi.Interactions, got '
                f'{type(_model(runner)).__name__}'
            )

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict | None = None
    ) -> None:
        """Draw the first images of the batch, every `interval` iterations."""
        if runner.iter % self.interval == 0:
            batch = {name: value[:NUM_IMAGES] for name, value in data_batch.items()}
            runner.visualizer.add_image('interactions', self._draw(_model(runner), batch), step=runner.iter)

    def before_test(self, runner: Runner) -> None:
        """Log a warning and draw no pictures if the model or its teacher has no maps."""
        if self.test_out_dir is None:
            return
        if getattr(_model(runner), 'interactions', None) is None:
            name = type(_model(runner)).__name__
            is_tta = isinstance(_model(runner), BaseTTAModel)
            reason = 'has several views of an image' if is_tta else 'does not learn from interactions'
            runner.logger.warning(f'No pictures of interactions: {name} {reason}')
            self.test_out_dir = None
            return
        try:
            _ = _model(runner).teacher
        except (AttributeError, ImportError, OSError, RuntimeError, ValueError) as error:
            runner.logger.warning(f'No pictures of interactions: {error}')
            self.test_out_dir = None

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence = ()
    ) -> None:
        """Write a picture of each image to `test_out_dir`."""
        if self.test_out_dir is None:
            return
        classes = (getattr(runner.test_dataloader.dataset, 'metainfo', None) or {}).get('classes', ())
        for i, sample in enumerate(data_batch['data_samples']):
            batch = {name: value[i : i + 1] for name, value in data_batch.items()}
            picture = self._draw(_model(runner), batch, outputs[i : i + 1], classes)
            name = sample.metainfo.get('img_path', f'{batch_idx}_{i}')
            prefix = f'{get_rank()}_{batch_idx}_{i}'
            path = Path(self.test_out_dir, _relative_path(name, runner.test_dataloader.dataset, prefix))
            path = path.with_name(f'{path.name}.png')
            mmcv.imwrite(picture[..., ::-1], str(path))

    def _draw(
        self, model: Any, batch: dict, outputs: Sequence = (), classes: Sequence[str] = ()
    ) -> np.ndarray:
        if not self.texts:
            return draw_batch(model, batch, outputs, classes)
        if self._embeddings is None:
            # Building the tower draws random numbers: keep the generator's state for training.
            with torch.random.fork_rng():
                self._embeddings = TextTower(model.teacher_cfg).embed(self.texts)
        return draw_answer_batch(model, batch, outputs, classes, self.texts, self._embeddings)


def _relative_path(path: str, dataset: Dataset, prefix: str) -> Path:
    """Return the path of an image below the root of its data set, or below its folder of images.

    Without either, return `prefix` and the file name: folders may hold files of the same name.
    """
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    prefixes = getattr(dataset, 'data_prefix', None) or {}
    for root in (getattr(dataset, 'data_root', None), prefixes.get('img_path'), prefixes.get('img')):
        if root and Path(path).is_relative_to(root):
            return Path(path).relative_to(root)
    return Path(f'{prefix}_{Path(path).name}')


@default_style()
def draw_batch(model: Any, batch: dict, outputs: Sequence = (), classes: Sequence[str] = ()) -> np.ndarray:
    """Draw a batch of images with the maps of teacher and student, as (H, W, 3) uint8 RGB.

    Args:
        model: `Student` that learns from `Interactions`.
        batch: batch from the data loader, with `inputs` and `data_samples`.
        outputs: predictions for the images. The boxes of detectors are drawn. Defaults to none.
        classes: class names by label. Defaults to none.
    """
    canvas, (teacher, student) = _canvas_and_maps(model, batch, model.predict_interactions)
    cells = _cells(len(canvas), 3)
    concepts = teacher.presence.argmax(1).tolist()
    draw_interactions(cells, canvas, teacher, student, model.teacher.bank.names, concepts)
    return _render(cells, outputs, classes)


@default_style()
def draw_answer_batch(
    model: Any,
    batch: dict,
    outputs: Sequence,
    classes: Sequence[str],
    texts: Sequence[str],
    embeddings: torch.Tensor,
) -> np.ndarray:
    """Draw a batch of images with the student's maps of texts, as (H, W, 3) uint8 RGB.

    Args:
        model: `Student` that learns from `Interactions`.
        batch: batch from the data loader, with `inputs` and `data_samples`.
        outputs: predictions for the images. The boxes of detectors are drawn.
        classes: class names by label.
        texts: M texts.
        embeddings: (M, E), embeddings of the texts by the text tower of the teacher.
    """

    def ask(inputs: torch.Tensor, samples: Sequence) -> list[InteractionMaps]:
        return [model.ask(inputs, embeddings.to(inputs.device), get_valid_sizes(inputs, samples))]

    canvas, (answers,) = _canvas_and_maps(model, batch, ask)
    cells = _cells(len(canvas), 1 + len(texts))
    draw_answers(cells, canvas, answers, texts)
    return _render(cells, outputs, classes)


def _canvas_and_maps(
    model: Any, batch: dict, compute_maps: Callable[[torch.Tensor, Sequence], Iterable[InteractionMaps]]
) -> tuple[np.ndarray, list[InteractionMaps]]:
    """Return the images on the canvas of the patches, (B, H, W, 3) RGB, and the maps from `compute_maps`."""
    images = batch['inputs']
    images = stack_batch(list(images)) if not isinstance(images, torch.Tensor) else images
    data = _preprocessed(model.data_preprocessor, batch)
    with eval_mode(model):
        all_maps = [maps.to('cpu') for maps in compute_maps(data['inputs'], data['data_samples'])]

    # Patches at the lower and right edges may extend beyond the images.
    size = StudentGrid.of(model.backbone, tuple(data['inputs'].shape[-2:])).canvas
    canvas = np.zeros((len(images), *size, 3), np.uint8)
    # Images are loaded as BGR.
    canvas[:, : images.shape[-2], : images.shape[-1]] = images.flip(1).permute(0, 2, 3, 1).cpu().numpy()
    return canvas, all_maps


def _preprocessed(preprocessor: Any, batch: dict) -> dict:
    """Preprocess a batch without batch augmentations, so that it fits the loaded images."""
    is_uniform = len({tuple(image.shape) for image in batch['inputs']}) == 1
    if is_uniform or not hasattr(preprocessor, 'seg_pad_val'):
        prepared: dict = preprocessor(batch, False)
        return prepared
    # mmseg pads images to a common size only in training, and writes the padding into the samples.
    batch = {**batch, 'data_samples': copy.deepcopy(batch['data_samples'])}
    augments, preprocessor.batch_augments = preprocessor.batch_augments, None
    try:
        prepared = preprocessor(batch, True)
    finally:
        preprocessor.batch_augments = augments
    return prepared


def _cells(rows: int, columns: int) -> np.ndarray:
    figure = Figure(figsize=(2 * columns, 2 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    return figure.subplots(rows, columns, squeeze=False)


def _render(cells: np.ndarray, outputs: Sequence, classes: Sequence[str]) -> np.ndarray:
    """Draw detections into the first cell of each row, and render the figure."""
    for row, output in zip(cells, outputs):
        if hasattr(output, 'pred_instances'):
            # Boxes are in pixels of the loaded image, but the picture is in pixels of the model's input.
            scale = output.metainfo.get('scale_factor', (1, 1))
            draw_detections(row[0], output.pred_instances, classes, scale)
    set_fonts(cells[0, 0].figure)
    canvas = cells[0, 0].figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
