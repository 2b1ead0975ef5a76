"""Detection of NaN or infinite losses and gradients before they reach the parameters."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from lfi.registry import HOOKS
from lfi.utils.modules import unwrap_model


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is NaN or infinite, for more updates in a row than allowed."""


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Hook that ends training, or skips an update, if a loss or the gradient is NaN or infinite.

    The message names the loss terms, the epoch, the iteration, and the images of the batch. Parameters and
    the optimizer's state stay finite. If an update is skipped, running statistics are restored.

    mmdet's `CheckInvalidLossHook` checks every 50th loss after the optimizer's step. This hook checks the
    norm of the gradient before each step. With `optim_wrapper.clip_grad` the norm is on the CPU already.
    Otherwise the hook computes it, which takes a pass over the gradients and waits for the GPU. With a loss
    scaler only the losses are checked, because the scaler skips such steps itself. With several optimizers,
    or one that is not torch's, only the losses are checked too, and `max_skips` must be 0.

    Args:
        max_skips: Number of updates in a row that may be skipped before training ends. Defaults to 0:
            training ends at the first.

    Raises:
        ValueError: If `max_skips` is negative.
        TypeError: If the optimizer does not support `max_skips`, when training begins.
        NonFiniteError: If more than `max_skips` updates in a row are not finite.
    """

    # After RuntimeInfoHook, which waits for the losses, and before hooks that read the model.
    priority = 'HIGH'

    def __init__(self, max_skips: int = 0) -> None:
        if max_skips < 0:
            raise ValueError(
                f'max_skips={max_skips} is negative; use 0 to skip no update, or a larger number'
            )
        self.max_skips = max_skips
        self._gradient_norm = 0.0
        self._stepped = False
        self._is_non_finite = False
        self._in_update = False
        self._skips_in_a_row = 0
        self._buffers: dict[str, torch.Tensor] = {}
        self._snapshots: list[tuple[Any, Any]] = []

    def before_train(self, runner: Runner) -> None:
        """Register the check before each step of the optimizer."""
        wrapper = runner.optim_wrapper
        if isinstance(getattr(wrapper, 'optimizer', None), torch.optim.Optimizer):
            wrapper.optimizer.register_step_pre_hook(lambda *_: self._before_step(wrapper))
        elif self.max_skips:
            raise TypeError(
                f'max_skips={self.max_skips} needs one torch optimizer, got optim_wrapper of type '
                f'{type(wrapper).__name__}; set default_hooks.non_finite.max_skips=0'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Save the running statistics before an update, which may take several iterations."""
        self._gradient_norm, self._stepped = 0.0, False
        if self.max_skips and not self._in_update:
            model = unwrap_model(runner.model)
            if hasattr(model, 'start_statistics'):
                # Without this, a skipped first update would restore the statistics of an earlier training.
                model.start_statistics()
            self._save(runner.model)
            self._in_update = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None, outputs: dict
    ) -> None:
        """Check the losses and the norm of the gradient."""
        losses = {name: torch.as_tensor(value).item() for name, value in outputs.items() if 'loss' in name}
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad or not math.isfinite(self._gradient_norm):
            self._is_non_finite = True
            self._restore(runner.model)
            problem = ', '.join(f'{name} is {losses[name]}' for name in bad) or (
                f'the gradient has the norm {self._gradient_norm}, while every loss of this process is '
                'finite,'
            )
            message = (
                f'{problem} at epoch {runner.epoch + 1}, iteration {batch_idx + 1}. '
                f'Images of the batch: {", ".join(image_paths(data_batch)) or "unknown"}.'
            )
            if self._skips_in_a_row == self.max_skips:
                raise NonFiniteError(f'{message} {self._advice()}')
            fate = 'kept: its gradient is finite' if self._stepped else 'skipped'
            # Only the first process logs warnings. A process with a bad loss logs its images, as an error.
            level = logging.ERROR if bad else logging.WARNING
            runner.logger.log(level, f'{message} Its update is {fate}.')
        if self.max_skips and runner.optim_wrapper.should_update():
            self._end_update(runner)

    def after_train(self, runner: Runner) -> None:
        """Log the number of skipped updates."""
        skips = runner.message_hub.get_info('skipped_updates', 0)
        if skips:
            runner.logger.warning(f'{skips} updates were skipped because of NaN or infinite values.')

    @torch.no_grad()
    def _save(self, model: nn.Module) -> None:
        """Save the buffers by name, because a model may replace a buffer by a new tensor."""
        for name, buffer in model.named_buffers():
            if name in self._buffers:
                self._buffers[name].copy_(buffer)
            else:
                self._buffers[name] = buffer.clone()
        # Modules with state outside buffers implement `snapshot`.
        modules: list[Any] = [module for module in model.modules() if hasattr(module, 'restore_snapshot')]
        self._snapshots = [(module, module.snapshot()) for module in modules]

    @torch.no_grad()
    def _restore(self, model: nn.Module) -> None:
        """Restore the saved buffers and snapshots, if any."""
        for name, buffer in model.named_buffers():
            if name in self._buffers:
                buffer.copy_(self._buffers[name])
        for module, snapshot in self._snapshots:
            module.restore_snapshot(snapshot)

    def _before_step(self, wrapper: OptimWrapper) -> None:
        """Remove all gradients if their norm is not finite: torch's optimizers then change no parameter."""
        scaler = getattr(wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():
            self._gradient_norm = gradient_norm(wrapper)
        self._stepped = math.isfinite(self._gradient_norm)
        if not self._stepped:
            wrapper.zero_grad(set_to_none=True)

    def _end_update(self, runner: Runner) -> None:
        skipped = self._is_non_finite and not self._stepped
        if skipped:
            skips = runner.message_hub.get_info('skipped_updates', 0)
            runner.message_hub.update_info('skipped_updates', skips + 1)
            # Later iterations of the same update may have changed the statistics.
            self._restore(runner.model)
        self._skips_in_a_row = self._skips_in_a_row + 1 if self._is_non_finite else 0
        self._is_non_finite = self._in_update = False

    def _advice(self) -> str:
        if self.max_skips:
            return f'This update is one more in a row than max_skips={self.max_skips}.'
        return (
            'Look at these images, then at the learning rate; to skip up to N such updates in a row, '
            'set default_hooks.non_finite.max_skips=N.'
        )


def gradient_norm(wrapper: OptimWrapper) -> float:
    """Return the norm of all gradients. If gradients are clipped, it is already computed.

    The norm is NaN in all processes if it is not finite in one, because each may hold a part of the gradient.
    """
    if wrapper.clip_grad_kwargs and wrapper.grad_name == 'grad_norm':
        norm = wrapper.message_hub.get_scalar(f'train/{wrapper.grad_name}').current()
    else:
        groups = wrapper.optimizer.param_groups
        gradients = [p.grad for group in groups for p in group['params'] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
    norm = float(norm)
    if dist.get_world_size() > 1:
        bad = torch.tensor(float(not math.isfinite(norm)))
        dist.all_reduce(bad, 'max')
        norm = math.nan if bad else norm
    return norm


def image_paths(data_batch: dict | None) -> list[str]:
    """Return the `img_path` of each sample of a batch, or [] if the batch has no `data_samples`."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    return [str(getattr(sample, 'img_path', 'unknown')) for sample in samples or []]
