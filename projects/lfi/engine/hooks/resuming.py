"""A training that resumes: from what file, at what step, and with which validations missing."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.engine.scalars import read_scalars
from lfi.errors import UsageError
from lfi.registry import HOOKS

_STATE = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class CompleteCheckpointHook(Hook):
    """Refuses to resume from a checkpoint without the state of its training.

    MMEngine (0.10) would begin with a new optimizer and schedule at the epoch of the file, and say nothing.
    `tools/train.py --resume` adds it.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look for what a training goes on with.

        Raises:
            UsageError: the checkpoint lacks some of it.
        """
        missing = [key for key in _STATE if key not in checkpoint]
        if missing:
            raise UsageError(
                f'training cannot resume from {runner._load_from}: it has no {" and no ".join(missing)}, as '
                'best_*.pth, exported and published files have none. Take an epoch_*.pth or iter_*.pth, or '
                'begin a training with its weights by --cfg-options load_from=FILE'
            )


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


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Restores what a resumed run lacks of its validations.

    MMEngine (0.10) writes a checkpoint, validates it, logs the result, writes the best checkpoint and then
    the checkpoint once more. A run that is killed in between resumes with the next epoch. Without this hook
    the results would lack that validation, or the best checkpoint would be another one. A scheduler that
    waits for a plateau has not seen the validation that follows its checkpoint, and `EarlyStoppingHook` has
    seen none: both are told what is logged.
    `tools/train.py --resume` adds it.
    """

    # The hooks that keep the best checkpoint and the log must be ready.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Tell what was logged, and run the validation loop once, if it is due."""
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        step, last = (runner.epoch, loop.max_epochs) if by_epoch else (runner.iter, loop.max_iters)
        # The loop itself looks after an epoch which interval is that of its milestones.
        interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, step + 1) - 1]
        due = step >= max(1, loop.val_begin) and (step % interval == 0 or step == last)
        if runner.val_loop is None:
            return
        # The later word counts.
        logged: Any = {row['step']: row for row in _validations(runner) if row['step'] <= step}
        missed = due and (step not in logged or _best_is_missing(runner, logged[step]))
        # All processes do what the first one has read.
        read = [logged, missed]
        dist.broadcast_object_list(read)
        logged, missed = read
        _tell(runner, [logged[number] for number in sorted(logged) if not (missed and number == step)])
        if missed:
            runner.logger.info(f'The validation of step {step} was not completed, and is done now.')
            runner.val_loop.run()
            runner.model.train()


def _validations(runner: Runner) -> Iterator[dict]:
    """What is logged in the folder of the checkpoint, and in that of this run."""
    folders = dict.fromkeys((Path(str(runner._load_from)).parent, Path(runner.work_dir)))
    rows = chain.from_iterable(read_scalars(folder, resumed_at=runner.iter) for folder in folders)
    return (row for row in rows if 'loss' not in row)


def _tell(runner: Runner, validations: Sequence[dict]) -> None:
    """Let early stopping and a plateau's schedulers see the validations that they lack."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook):
            for validation in validations:
                hook.after_val_epoch(runner, validation)
    schedulers = runner.param_schedulers or []
    for scheduler in chain(*schedulers.values()) if isinstance(schedulers, dict) else schedulers:
        # Its steps are counted from -1, and a later beginning is not looked into.
        waits = getattr(scheduler, 'need_val_args', False) and scheduler.begin == 0
        if waits and scheduler.last_step + 2 == len(validations):
            scheduler.step(validations[-1])


def _best_is_missing(runner: Runner, logged: Mapping[str, float]) -> bool:
    """Whether a logged validation is better than what the checkpoint knows as the best."""
    known = runner.message_hub.runtime_info
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook) or not hook.save_best:
            continue
        if 'auto' in hook.key_indicators:
            # As the hook itself does at its first validation.
            hook._init_rule(hook.rules, [next(key for key in logged if key != 'step')])
        one = len(hook.key_indicators) == 1
        for metric, is_better in hook.is_better_than.items():
            best = known.get('best_score' if one else f'best_score_{metric}')
            if metric in logged and (best is None or is_better(logged[metric], best)):
                return True
    return False
