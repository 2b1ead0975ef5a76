"""Pictures of what teacher and student look at, during training."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.model.utils import stack_batch
from mmengine.runner import Runner

from lfi.registry import HOOKS

from .figures import draw_interactions


@HOOKS.register_module()
class InteractionVisualizationHook(Hook):
    """Gives the visualizer's backends a picture: training images, with the teacher's map and the student's.

    For each image the concept is shown that counts most in the loss over positions. It works for every model
    of `InteractionDistillMixin`, and with a cached teacher.

    Args:
        interval: how many iterations lie between two pictures; the first comes at the start.
            Defaults to 500.
        num_images: in a picture. Defaults to 4.

    Raises:
        ValueError: if an argument is below 1.
        TypeError: before training, if the model does not learn from interactions.
    """

    def __init__(self, interval: int = 500, num_images: int = 4) -> None:
        for name, value in (('interval', interval), ('num_images', num_images)):
            if value < 1:
                raise ValueError(f'{name}={value} must be at least 1')
        self.interval, self.num_images = interval, num_images

    def before_train(self, runner: Runner) -> None:
        if not hasattr(_model(runner), 'predict_interactions'):
            raise TypeError(
                f'InteractionVisualizationHook needs a model that learns from interactions, such as '
                f'lfi.LFIImageClassifier, got {type(_model(runner)).__name__}'
            )

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        if runner.iter % self.interval == 0:
            runner.visualizer.add_image('interactions', self._draw(runner, data_batch), step=runner.iter)

    def _draw(self, runner: Runner, data_batch: dict) -> np.ndarray:
        model = _model(runner)
        shown = {name: value[: self.num_images] for name, value in data_batch.items()}
        images = shown['inputs']
        images = stack_batch(list(images)) if not isinstance(images, torch.Tensor) else images
        training = model.training
        model.eval()
        # Without training's batch augmentations: these are the images that were loaded.
        data = model.data_preprocessor(shown, False)
        teacher, student = (
            maps.to('cpu') for maps in model.predict_interactions(data['inputs'], data['data_samples'])
        )
        model.train(training)

        height, width = data['inputs'].shape[-2:]
        canvas = np.zeros((len(images), height, width, 3), np.uint8)
        # Images are loaded as BGR.
        canvas[:, : images.shape[-2], : images.shape[-1]] = images.flip(1).permute(0, 2, 3, 1).cpu().numpy()
        figure = Figure(figsize=(6, 2 * len(images)), layout='constrained')
        painter = FigureCanvasAgg(figure)
        cells = figure.subplots(len(images), 3, squeeze=False)
        concepts = teacher.presence.argmax(1).tolist()
        draw_interactions(cells, canvas, teacher, student, model.teacher.bank.names, concepts)
        painter.draw()
        return np.asarray(painter.buffer_rgba())[..., :3].copy()


def _model(runner: Runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
