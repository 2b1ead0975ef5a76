"""Schedules for the weights of the interaction terms."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from lfi.registry import HOOKS

WEIGHTS = ('positions_weight', 'concepts_weight', 'relation_weight')


@HOOKS.register_module()
class LossWeightHook(Hook):
    """Moves one weight of the model's `InteractionDistillLoss` linearly between two multiples of itself.

    Args:
        weight: 'positions_weight', 'concepts_weight' or 'relation_weight'.
        begin: the epoch, fractions allowed, at which the change begins. Defaults to 0.
        end: the epoch at which it ends.
        start_factor: the multiple before and at `begin`.
        end_factor: the multiple from `end` on. Defaults to 1.

    Raises:
        ValueError: if the weight is unknown, `end` is not after `begin`, or a factor is not above 0 (a term
            that is not computed would leave parameters without gradient, which DDP refuses).
    """

    def __init__(
        self, weight: str, end: float, start_factor: float, begin: float = 0.0, end_factor: float = 1.0
    ) -> None:
        if weight not in WEIGHTS:
            raise ValueError(f'weight={weight!r} is unknown; choose from {WEIGHTS}')
        if not end > begin >= 0:
            raise ValueError(f'end={end} must be after begin={begin}, and begin not below 0')
        for name, factor in (('start_factor', start_factor), ('end_factor', end_factor)):
            if not factor > 0:
                raise ValueError(f'{name}={factor} must be above 0; use a small number such as 1e-6')
        self.weight, self.begin, self.end = weight, begin, end
        self.start_factor, self.end_factor = start_factor, end_factor

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._loss = model.interaction_loss
        self._full = getattr(self._loss, self.weight)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        epoch = runner.iter / len(runner.train_dataloader)
        progress = min(max((epoch - self.begin) / (self.end - self.begin), 0.0), 1.0)
        factor = self.start_factor + progress * (self.end_factor - self.start_factor)
        setattr(self._loss, self.weight, factor * self._full)
