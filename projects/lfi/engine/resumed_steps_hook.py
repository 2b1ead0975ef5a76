"""A training that goes on elsewhere than it stopped."""

from __future__ import annotations

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.errors import UsageError
from lfi.registry import HOOKS


@HOOKS.register_module()
class ResumedStepsHook(Hook):
    """Warns where a training resumes with another number of steps an epoch than its checkpoint had.

    Then its data, labels, batch size or processes are others, and schedules by iteration are off; or the
    checkpoint was written within an epoch, which MMEngine repeats from its beginning. Refuses processes that
    have resumed from different checkpoints. `tools/train.py --resume` adds it.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the checkpoint's steps with those of the other processes, and of as many epochs now.

        Raises:
            UsageError: processes have resumed at different steps, as where one node of several was restarted.
        """
        found = set(dist.all_gather_object(runner.iter))
        if len(found) > 1:
            raise UsageError(
                f'the processes have resumed at different iterations, {", ".join(map(str, sorted(found)))}: '
                'start all nodes again, with --resume alone and the same --work-dir'
            )
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        steps = len(runner.train_loop.dataloader)
        beyond = runner.iter - steps * runner.epoch
        if beyond:
            # The file does not tell which.
            within = 'it lies within an epoch, which begins anew, or ' if 0 < beyond <= steps else ''
            runner.logger.warning(
                f'The checkpoint has {runner.iter} steps in {runner.epoch} epochs, and this training has '
                f'{steps} an epoch: {within}its data, labels, batch size or processes are others. Schedules '
                'by iteration and the remaining time are off.'
            )
