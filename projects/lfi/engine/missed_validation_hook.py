"""The validation that a kill cut off."""

from __future__ import annotations

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.registry import HOOKS

from .scalars import read_scalars


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Before training resumes, validates the checkpoint it resumes from, where the log does not hold that.

    MMEngine (0.10) writes a checkpoint before it validates it. A run that is killed in between resumes with
    the next epoch, and this one would be missing among the results and from the choice of the best.
    `tools/train.py --resume` adds this hook.
    """

    # The hooks that keep the best checkpoint and the log must be ready.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        step, last = (runner.epoch, loop.max_epochs) if by_epoch else (runner.iter, loop.max_iters)
        due = step >= max(1, loop.val_begin) and (step % loop.val_interval == 0 or step == last)
        if runner.val_loop is None or not due:
            return
        # All processes do what the first one has read.
        missed = [all(row['step'] != step for row in read_scalars(runner.work_dir) if 'loss' not in row)]
        dist.broadcast_object_list(missed)
        if missed[0]:
            runner.logger.info(f'The validation of step {step} was cut off, and is done now.')
            runner.val_loop.run()
            runner.model.train()
