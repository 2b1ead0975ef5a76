"""The validation that a kill interrupted."""

from __future__ import annotations

from bisect import bisect

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.registry import HOOKS

from .scalars import read_scalars


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validates the checkpoint from which training resumes, where the log holds no validation of it.

    MMEngine (0.10) writes a checkpoint before it validates it. A run that is killed in between resumes with
    the next epoch. Without this hook the results would lack that validation, and so would the choice of the
    best checkpoint. `tools/train.py --resume` adds it.
    """

    # The hooks that keep the best checkpoint and the log must be ready.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Run the validation loop once, if it is due."""
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        step, last = (runner.epoch, loop.max_epochs) if by_epoch else (runner.iter, loop.max_iters)
        # The loop itself looks after an epoch which interval is that of its milestones.
        interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, step + 1) - 1]
        due = step >= max(1, loop.val_begin) and (step % interval == 0 or step == last)
        if runner.val_loop is None or not due:
            return
        # All processes do what the first one has read.
        missed = [all(row['step'] != step for row in read_scalars(runner.work_dir) if 'loss' not in row)]
        dist.broadcast_object_list(missed)
        if missed[0]:
            runner.logger.info(f'The validation of step {step} was interrupted, and is done now.')
            runner.val_loop.run()
            runner.model.train()
