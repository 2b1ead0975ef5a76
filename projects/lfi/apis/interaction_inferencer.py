"""Predictions and interaction maps of images, folders and videos."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from lfi.concepts import prompt_templates
from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.hooks.fitting_weights import CONTRAST_TEXTS, NO_CONTRAST_TEXTS, needed_to_predict
from lfi.engine.machine import usable_device
from lfi.engine.pipelines import refuse_padding
from lfi.models.teachers.text_tower import TextTower
from lfi.structures import StudentGrid, get_valid_sizes
from lfi.student_folder import read_config
from lfi.utils.config_types import model_config
from lfi.utils.modules import check_values, eval_mode, state_dict_of
from lfi.utils.options import check_whole
from lfi.utils.process import offline
from lfi.utils.repositories import first_lines, is_student, local_folder

from .drawing import draw_result, strongest_texts
from .image_pipeline import ImagePipeline
from .interaction_result import InteractionResult, crop_maps
from .sources import Source, list_sources


@dataclass(frozen=True)
class Item:
    """Image and its model input."""

    name: str
    frame: int | None
    image: np.ndarray
    packed: dict
    view: Tensor


class InteractionInferencer(BaseInferencer):
    """Inferencer for predictions of a trained model, and for its presence and maps of texts.

    A model that learnt from interactions answers any text: whether an image shows it, and where. The
    teacher's text tower embeds each text once; its image tower does not run. Other models, such as the
    baselines, only predict. Code in a checkpoint is never run. Threads may share an inferencer: calls wait
    for one another, and `skipped` belongs to the latest call.

    Args:
        model: Config of the training, or its file; or a student's folder or repository on the Hugging Face
            Hub, ``hf://user/name``.
        weights: Checkpoint file or URL. Defaults to None: weights in the student's folder; with a config,
            random weights and a warning.
        device: Device of the model. Defaults to None: CUDA if available, else the CPU.
        templates: Prompts with {} for the text. Defaults to None: the teacher's own.

    Raises:
        FileNotFoundError: If a file is missing.
        UnsafeCheckpointError: If the checkpoint holds more than tensors, plain data and a Runner's state.
        ValueError: If the weights do not fit the model; if the test pipeline pads or has a step that
            `RecordView` cannot follow; if a student's folder or repository cannot be read; or if `device` or
            `templates` cannot be used.

    Example:
        >>> inferencer = InteractionInferencer('lfi_vit-128x6-p8_shapes.py', 'epoch_13.pth')
        >>> results = inferencer('photos', texts=['red circle', 'blue square'])
        >>> results['predictions'][0].maps.shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | None = None,
        templates: Sequence[str] | str | None = None,
    ) -> None:
        if not isinstance(model, Config) and is_student(model):
            weights = model if weights is None else weights
            cfg = read_config(local_folder(model))
        else:
            cfg = copy.deepcopy(model) if isinstance(model, Config) else Config.fromfile(model)
        cfg.model = model_config(cfg)
        if templates is not None:
            prompt_templates(templates)
        self.skipped: list[str] = []
        # Backbone and pipeline hold the state of one pass: calls must not overlap.
        self._lock = threading.Lock()
        self._weights = None if weights is None else str(weights)
        self._trained_classes: Sequence[str] | None = None
        self._no_texts_reason: str | None = None
        scope = DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine'))
        with scope, safe_checkpoint_loading():
            super().__init__(cfg, self._weights, str(usable_device(device)), show_progress=False)
        # A zero-shot model's teacher has the classes and prompts of its test.
        teacher = getattr(self.model, 'teacher_cfg', cfg.model.get('teacher'))
        self._text_tower = None if teacher is None else TextTower(teacher, templates, self.device)
        if self._text_tower is None and self._no_texts_reason is None:
            self._no_texts_reason = 'the config has no model.teacher, whose text tower embeds texts'

    def __call__(
        self,
        inputs: str | Path | np.ndarray | Sequence,
        texts: Sequence[str] | None = None,
        batch_size: int = 8,
        frame_stride: int = 1,
        return_vis: bool = False,
    ) -> dict:
        """Run the model on images. An image that cannot be read is skipped with a warning.

        Args:
            inputs: Path of an image, a folder or a video; an image, (H, W, 3) uint8 BGR; or a list of these,
                see `list_sources`.
            texts: Texts to ask for. Defaults to None: classes of the training; or no texts, with a warning,
                if the teacher is not on this machine.
            batch_size: Images in a batch. All images of a batch have one size, so that no result depends on
                another image. Defaults to 8.
            frame_stride: Use every `frame_stride`-th frame of a video. Defaults to 1.
            return_vis: Whether to draw pictures, see `visualize`. Defaults to False.

        Returns:
            `predictions`, an `InteractionResult` for each image; `visualization`, a picture for each image if
            `return_vis` is set; `skipped`, names of the images that could not be read.

        Raises:
            FileNotFoundError, RuntimeError, ImportError: If texts are given and the teacher is not available.
            ValueError: If the teacher is not available, the model cannot answer texts, or an argument is out
                of range.
            TypeError: If an input is no path, array or list.
        """
        results = list(self.stream(inputs, texts, batch_size, frame_stride))
        pictures = self.visualize(inputs, results, texts) if return_vis else []
        return self.postprocess(results, pictures)

    def stream(
        self,
        inputs: str | Path | np.ndarray | Sequence,
        texts: Sequence[str] | None = None,
        batch_size: int = 8,
        frame_stride: int = 1,
    ) -> Iterator[InteractionResult]:
        """Yield the results one by one, and fill `skipped`; arguments and errors as in `__call__`."""
        check_whole(1, batch_size=batch_size, frame_stride=frame_stride)
        sources = list_sources(inputs)
        texts = self.default_texts if texts is None else self.check_texts(texts)
        self.skipped = []
        return self._run_all(self.preprocess(sources, batch_size, frame_stride), texts)

    def stream_predictions(
        self, inputs: str | Path | np.ndarray | Sequence, batch_size: int = 8, frame_stride: int = 1
    ) -> Iterator[InteractionResult]:
        """Yield results without texts; arguments and errors as in `stream`."""
        check_whole(1, batch_size=batch_size, frame_stride=frame_stride)
        self.skipped = []
        return self._run_all(self.preprocess(list_sources(inputs), batch_size, frame_stride), ())

    def _run_all(self, batches: Iterator[list[Item]], texts: Sequence[str]) -> Iterator[InteractionResult]:
        while True:
            with self._lock:
                batch = next(batches, None)
                results = [] if batch is None else self.forward(batch, texts)
            if batch is None:
                return
            yield from results

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Class names of the training set, by label; empty if the checkpoint has none."""
        return tuple(self._trained_classes or ())

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names of the task, by label; empty if neither checkpoint nor config has them."""
        return self.class_texts if self._trained_classes is None else tuple(self._trained_classes)

    @cached_property
    def trained_texts(self) -> tuple[str, ...]:
        """Concepts of the training; empty if these cannot be read."""
        return self._texts_of_tower(lambda tower: tower.concepts)

    @cached_property
    def class_texts(self) -> tuple[str, ...]:
        """Texts of the classes by label, among the teacher's concepts; empty if these cannot be read."""
        return self._texts_of_tower(lambda tower: tower.classes)

    def _texts_of_tower(self, read: Callable[[TextTower], tuple[str, ...]]) -> tuple[str, ...]:
        try:
            return () if self._text_tower is None else read(self._text_tower)
        except (OSError, TypeError, ValueError):
            return ()

    @cached_property
    def default_texts(self) -> tuple[str, ...]:
        """Classes among the teacher's concepts; empty if the model cannot answer texts."""
        texts = self.class_texts
        if not texts or self._no_texts_reason is not None:
            return ()
        try:
            # Without a request for texts, download nothing that an untrusted student's config names.
            with offline():
                self._embeddings(texts)
        except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            print_log(
                f'Predictions only, without texts: {first_lines(error)}. Give texts to download the teacher, '
                'or name its folder by --cfg-options model.teacher.model=FOLDER',
                'current',
                logging.WARNING,
            )
            return ()
        return texts

    def preprocess(
        self, inputs: Sequence[Source], batch_size: int = 8, frame_stride: int = 1
    ) -> Iterator[list[Item]]:
        """Yield batches of images with one input size; arguments as in `__call__`."""
        batch: list[Item] = []
        for item in self._items(inputs, frame_stride):
            if batch and (len(batch) == batch_size or _input_size(item) != _input_size(batch[0])):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    @torch.inference_mode()
    def forward(self, inputs: Sequence[Item], texts: Sequence[str] = ()) -> list[InteractionResult]:
        """Return the results of a batch of `preprocess`, computed in evaluation mode."""
        with eval_mode(self.model):
            return self._results(inputs, texts)

    def _results(self, inputs: Sequence[Item], texts: Sequence[str]) -> list[InteractionResult]:
        data = self.collate_fn([item.packed for item in inputs])
        data = self.model.data_preprocessor(data, False)
        if not texts:
            predictions = self.model(**data, mode='predict')
            empty = torch.zeros(0), torch.zeros(0, 1, 1)
            return [
                _result(item, prediction, (), *empty, item.view)
                for item, prediction in zip(inputs, predictions)
            ]

        embeddings = self._embeddings(texts)
        asked_queries = self.model.readout.asked_queries(embeddings)
        sizes = get_valid_sizes(data['inputs'], data['data_samples'])
        with self.model.backbone.record_interactions(asked_queries) as record:
            predictions = self.model(**data, mode='predict')
        if record.passes == 1:
            maps = self.model.answers(record.states, data['inputs'], embeddings, sizes)
        else:
            # mmseg's mode='slide' runs once for each window, but maps need one pass over the whole image.
            maps = self.model.ask(data['inputs'], embeddings, sizes)
        maps = maps.to('cpu')
        canvas = StudentGrid.of(self.model.backbone, tuple(data['inputs'].shape[-2:])).canvas
        return [
            _result(
                item, prediction, texts, maps.presence[i], *crop_maps(maps, i, canvas, sizes[i], item.view)
            )
            for i, (item, prediction) in enumerate(zip(inputs, predictions))
        ]

    def visualize(
        self,
        inputs: str | Path | np.ndarray | Sequence,
        preds: Sequence[InteractionResult],
        texts: Sequence[str] | None = None,
    ) -> list[np.ndarray]:
        """Draw images with maps of `texts`, by default the 5 strongest classes; (H, W, 3) uint8 RGB."""
        return [
            draw_result(result, self.classes, range(len(result.texts)) if texts else strongest_texts(result))
            for result in preds
        ]

    def postprocess(self, preds: list[InteractionResult], visualization: list[np.ndarray]) -> dict:
        """Return the output of `__call__`."""
        return dict(predictions=preds, visualization=visualization, skipped=list(self.skipped))

    def _items(self, sources: Sequence[Source], frame_stride: int) -> Iterator[Item]:
        for source in sources:
            try:
                for frame, results in source.read(self.pipeline.load, frame_stride):
                    image = results['img'].astype(np.uint8, copy=False)
                    yield Item(source.name, frame, image, *self.pipeline(results))
            except OSError as error:
                self.skipped.append(source.name)
                print_log(f'{error}; skipped, {len(self.skipped)} so far', 'current', logging.WARNING)

    def check_texts(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Embed texts to ask about; errors as in `__call__`."""
        if isinstance(texts, str) or not texts:
            raise ValueError(f'texts={texts!r} must be a list of one or more texts')
        if len(set(texts)) < len(texts):
            raise ValueError(f'texts={list(texts)} names a text more than once')
        self._embeddings(texts)
        return tuple(texts)

    def _embeddings(self, texts: Sequence[str]) -> Tensor:
        if self._text_tower is None or self._no_texts_reason is not None:
            raise ValueError(f'texts={list(texts)} cannot be answered: {self._no_texts_reason}')
        embeddings = self._text_tower.embed(texts)
        self.model.readout.check_texts(embeddings.shape[1])
        return embeddings

    def _load_weights_to_model(
        self, model: nn.Module, checkpoint: dict | None, cfg: ConfigDict | None
    ) -> None:
        if getattr(model, 'readout', None) is None:
            self._no_texts_reason = f'{type(model).__name__} has no read-out: it learns from no interactions'
        if checkpoint is None:
            super()._load_weights_to_model(model, checkpoint, cfg)
            return
        training_meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        if not getattr(getattr(model, 'predict_by', None), 'has_class_names', False):
            self._trained_classes = training_meta.get('classes')
        state = state_dict_of(checkpoint)
        try:
            check_values(model, state)
            missing = model.load_state_dict(state, strict=False).missing_keys
        # Modules that reshape weights while loading raise errors of any type.
        except Exception as error:
            raise ValueError(
                f'the weights in {self._weights} do not fit the model: {first_lines(error)}. Give the config '
                'that they were trained with'
            ) from error
        # Ignore whole modules that the config leaves out, such as a head, and parts that only training uses.
        parameters = model.state_dict()
        modules = {'module', *(name.partition('.')[0] for name in parameters)}
        names = checkpoint.get('state_dict', checkpoint)
        unexpected = sorted(
            name for name in names if name not in parameters and name.partition('.')[0] in modules
        )
        if unexpected and is_student(str(self._weights)):
            raise ValueError(
                f'the weights in {self._weights} have {len(unexpected)} parameters that the model lacks, '
                f'such as {unexpected[:3]}: give the config that they were trained with'
            )
        needed = [name for name in missing if needed_to_predict(name)]
        if needed:
            raise ValueError(
                f'the weights in {self._weights} lack {len(needed)} parameters of the model, such as '
                f'{needed[:3]}: give the config that they were trained with'
            )
        missing_readout = [name for name in missing if name.startswith('readout.')]
        if missing_readout == [CONTRAST_TEXTS] and self._no_texts_reason is None:
            self._no_texts_reason = f'{self._weights} does not fit the config: {NO_CONTRAST_TEXTS}'
        if missing_readout and self._no_texts_reason is None:
            self._no_texts_reason = (
                f'{self._weights} has no read-out (it lacks {missing_readout[0]}): it holds a baseline or an '
                'exported student. Give the checkpoint of a model that learnt from interactions'
            )

    def _init_pipeline(self, cfg: ConfigDict) -> ImagePipeline:
        pipeline = ImagePipeline(cfg, getattr(self.model.backbone, 'img_size', None))
        if getattr(self.model, 'readout', None) is not None:
            refuse_padding(pipeline.steps, 'test_dataloader')
        return pipeline

    def _init_collate(self, cfg: ConfigDict) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg: ConfigDict) -> None:
        return None


def _input_size(item: Item) -> tuple[int, ...]:
    return tuple(item.packed['inputs'].shape)


def _result(
    item: Item,
    prediction: BaseDataElement,
    texts: Sequence[str],
    presence: Tensor,
    maps: Tensor,
    view: Tensor,
) -> InteractionResult:
    return InteractionResult(
        item.name, item.frame, item.image, prediction.cpu(), tuple(texts), presence, maps, view
    )
