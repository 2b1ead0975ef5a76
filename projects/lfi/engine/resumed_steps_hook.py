"""A training that goes on with epochs of another length."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.registry import HOOKS


@HOOKS.register_module()
class ResumedStepsHook(Hook):
    """Warns where a training resumes with another number of steps an epoch than its checkpoint had.

    Then its data, labels, batch size or processes are others, and schedules by iteration are off.
    `tools/train.py --resume` adds it.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the checkpoint's steps with those of as many epochs now."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop) or not runner.epoch:
            return
        steps = len(runner.train_loop.dataloader)
        if runner.iter != steps * runner.epoch:
            runner.logger.warning(
                f'The checkpoint has {runner.iter} steps in {runner.epoch} epochs, and this training has '
                f'{steps} an epoch: its data, labels, batch size or processes are others. Schedules by '
                'iteration and the remaining time are off.'
            )
