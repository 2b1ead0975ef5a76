"""Pictures of what teacher and student look at, during training and in tests."""

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
from lfi.structures import InteractionMaps, StudentGrid, valid_sizes_of
from lfi.utils.matplotlib_settings import default_style
from lfi.utils.modules import eval_mode

from .figures import draw_answers, draw_detections, draw_interactions
from .fonts import set_fonts

# Of a batch, in a picture.
NUM_IMAGES = 4


@HOOKS.register_module()
class InteractionVisualizationHook(Hook):
    """Gives the visualizer's backends a picture: training images, with the teacher's map and the student's.

    For each image the concept is shown that counts most in the loss over locations. It works for every model
    that learns from `lfi.Interactions`, and with a cached teacher. Where texts are given, the picture has
    what the student answers to them in place of the teacher's map.

    Args:
        interval: how many iterations lie between two pictures; the first comes at the start.
            Defaults to 500.
        texts: that the student is asked about; the teacher's text tower embeds them once, at the first
            picture. Defaults to none.
        test_out_dir: folder for a picture of each test image, called as the image is below its data set's
            `data_root`; `tools/test.py --show-dir` sets it. Where the model or its teacher has no maps, a
            warning says so, and there are none. Defaults to None.

    Raises:
        ValueError: if `interval` is below 1, or the texts are a string.
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
        """As of `lfi.InteractionMapsHook`: pictures of tests show the student's answers."""
        return self.test_out_dir is not None

    def before_train(self, runner: Runner) -> None:
        """Check that the model has maps to show."""
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
        """Draw the first images of the batch, each `interval` iterations."""
        if runner.iter % self.interval == 0:
            shown = {name: value[:NUM_IMAGES] for name, value in data_batch.items()}
            runner.visualizer.add_image('interactions', self._draw(_model(runner), shown), step=runner.iter)

    def before_test(self, runner: Runner) -> None:
        """Leave the pictures out where the model or its teacher has no maps."""
        if self.test_out_dir is None:
            return
        if getattr(_model(runner), 'interactions', None) is None:
            name = type(_model(runner)).__name__
            views = isinstance(_model(runner), BaseTTAModel)
            reason = f'{name} has several views of an image' if views else f'{name} learns from none'
            runner.logger.warning(f'No pictures of interactions: {reason}')
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
        """Write a picture of each image, where a folder is given."""
        if self.test_out_dir is None:
            return
        classes = (getattr(runner.test_dataloader.dataset, 'metainfo', None) or {}).get('classes', ())
        for i, sample in enumerate(data_batch['data_samples']):
            one = {name: value[i : i + 1] for name, value in data_batch.items()}
            picture = self._draw(_model(runner), one, outputs[i : i + 1], classes)
            name = sample.metainfo.get('img_path', f'{batch_idx}_{i}')
            number = f'{get_rank()}_{batch_idx}_{i}'
            path = Path(self.test_out_dir, _below_root(name, runner.test_dataloader.dataset, number))
            path = path.with_name(f'{path.name}.png')
            mmcv.imwrite(picture[..., ::-1], str(path))

    def _draw(
        self, model: Any, batch: dict, outputs: Sequence = (), classes: Sequence[str] = ()
    ) -> np.ndarray:
        if not self.texts:
            return draw_batch(model, batch, outputs, classes)
        if self._embeddings is None:
            # Building the tower draws random numbers, which are training's.
            with torch.random.fork_rng():
                self._embeddings = TextTower(model.teacher_cfg).embed(self.texts)
        return draw_asked(model, batch, outputs, classes, self.texts, self._embeddings)


def _below_root(path: str, dataset: Dataset, number: str) -> Path:
    """An image's path from its data set's root, whose folders may hold the same name.

    Without a root it is from the folder of its images, and else its name behind its number.
    """
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    prefixes = getattr(dataset, 'data_prefix', None) or {}
    for root in (getattr(dataset, 'data_root', None), prefixes.get('img_path'), prefixes.get('img')):
        if root and Path(path).is_relative_to(root):
            return Path(path).relative_to(root)
    return Path(f'{number}_{Path(path).name}')


@default_style()
def draw_batch(model: Any, batch: dict, outputs: Sequence = (), classes: Sequence[str] = ()) -> np.ndarray:
    """A batch of images with the teacher's and the student's maps, as (H, W, 3) uint8 RGB.

    Args:
        model: a `Student` that learns from `Interactions`.
        batch: as the data loader gives it.
        outputs: the predictions for the images; a detector's boxes are drawn.
        classes: names of the predictions' labels.
    """
    canvas, (teacher, student) = _answered(model, batch, model.predict_interactions)
    cells = _cells(len(canvas), 3)
    concepts = teacher.presence.argmax(1).tolist()
    draw_interactions(cells, canvas, teacher, student, model.teacher.bank.names, concepts)
    return _picture(cells, outputs, classes)


@default_style()
def draw_asked(
    model: Any,
    batch: dict,
    outputs: Sequence,
    classes: Sequence[str],
    texts: Sequence[str],
    embeddings: torch.Tensor,
) -> np.ndarray:
    """A batch of images with the student's answers to texts; arguments and picture as of `draw_batch`.

    Args:
        model: a `Student` that learns from `Interactions`.
        batch: likewise.
        outputs: likewise.
        classes: likewise.
        texts: M of them.
        embeddings: (M, E), of the texts by the teacher's text tower.
    """

    def ask(inputs: torch.Tensor, samples: Sequence) -> list[InteractionMaps]:
        return [model.ask(inputs, embeddings.to(inputs.device), valid_sizes_of(inputs, samples))]

    canvas, (answers,) = _answered(model, batch, ask)
    cells = _cells(len(canvas), 1 + len(texts))
    draw_answers(cells, canvas, answers, texts)
    return _picture(cells, outputs, classes)


def _answered(
    model: Any, batch: dict, answer: Callable[[torch.Tensor, Sequence], Iterable[InteractionMaps]]
) -> tuple[np.ndarray, list[InteractionMaps]]:
    """The images as the patches cover them, (B, H, W, 3) RGB, and what is answered of the batch."""
    images = batch['inputs']
    images = stack_batch(list(images)) if not isinstance(images, torch.Tensor) else images
    data = _preprocessed(model.data_preprocessor, batch)
    with eval_mode(model):
        answers = [maps.to('cpu') for maps in answer(data['inputs'], data['data_samples'])]

    # Patches at the lower and right edge may reach beyond the images.
    size = StudentGrid.of(model.backbone, tuple(data['inputs'].shape[-2:])).canvas
    canvas = np.zeros((len(images), *size, 3), np.uint8)
    # Images are loaded as BGR.
    canvas[:, : images.shape[-2], : images.shape[-1]] = images.flip(1).permute(0, 2, 3, 1).cpu().numpy()
    return canvas, answers


def _preprocessed(preprocessor: Any, batch: dict) -> dict:
    """The batch as the model gets it, without batch augmentations: these are the images that were loaded."""
    one_size = len({tuple(image.shape) for image in batch['inputs']}) == 1
    if one_size or not hasattr(preprocessor, 'seg_pad_val'):
        prepared: dict = preprocessor(batch, False)
        return prepared
    # mmseg brings images to one size in training alone, and writes that into the samples.
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


def _picture(cells: np.ndarray, outputs: Sequence, classes: Sequence[str]) -> np.ndarray:
    """The cells' figure, with the detections of each row's image in its first cell."""
    for row, output in zip(cells, outputs):
        if hasattr(output, 'pred_instances'):
            # Predictions are of the image as it was loaded, the picture of the model's input.
            scale = output.metainfo.get('scale_factor', (1, 1))
            draw_detections(row[0], output.pred_instances, classes, scale)
    set_fonts(cells[0, 0].figure)
    painter = cells[0, 0].figure.canvas
    painter.draw()
    return np.asarray(painter.buffer_rgba())[..., :3].copy()


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
