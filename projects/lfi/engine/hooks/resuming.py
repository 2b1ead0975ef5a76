"""Hooks of a resumed training: checks of its checkpoint and steps, and missed validations."""

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
    """Hook that refuses to resume from a checkpoint without the state of training.

    MMEngine (0.10) would silently start with a new optimizer and schedule at the epoch of the file.
    `tools/train.py --resume` adds the hook.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the keys of the checkpoint.

        Raises:
            UsageError: if a part of the training state is missing.
        """
        missing = [key for key in _STATE if key not in checkpoint]
        if missing:
            raise UsageError(
                f'training cannot resume from {runner._load_from}: it has no {" and no ".join(missing)}, '
                'like best_*.pth, exported and published files. Take an epoch_*.pth or iter_*.pth, or '
                'begin a training with its weights by --cfg-options load_from=FILE'
            )


@HOOKS.register_module()
class ResumedStepsHook(Hook):
    """Hook that warns if the number of steps in an epoch differs from that of the checkpoint.

    Either data, labels, batch size or processes have changed, and schedules by iteration are off; or the
    checkpoint was written within an epoch, which MMEngine repeats from its start. The hook also refuses
    processes that have resumed from different checkpoints. `tools/train.py --resume` adds the hook.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the iteration of the checkpoint between processes, and with the steps of its epochs.

        Raises:
            UsageError: if processes have resumed at different steps, as after a restart of a single node.
        """
        iterations = set(dist.all_gather_object(runner.iter))
        if len(iterations) > 1:
            raise UsageError(
                'the processes have resumed at different iterations, '
                f'{", ".join(map(str, sorted(iterations)))}: start all nodes again, with --resume alone and '
                'the same --work-dir'
            )
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        steps = len(runner.train_loop.dataloader)
        excess = runner.iter - steps * runner.epoch
        if excess:
            # The checkpoint does not show which of the two reasons holds.
            within = 'it was written within an epoch, which is repeated, or ' if 0 < excess <= steps else ''
            runner.logger.warning(
                f'The checkpoint has {runner.iter} steps in {runner.epoch} epochs, and this training has '
                f'{steps} an epoch: {within}its data, labels, batch size or processes have changed. '
                'Schedules by iteration and the remaining time are off.'
            )


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Hook that repeats or replays validations that a resumed run has missed.

    MMEngine (0.10) writes a checkpoint, validates it, logs the result, writes the best checkpoint and then
    the checkpoint again. A run that is killed in between resumes with the next epoch. Without this hook the
    results would lack that validation, or the best checkpoint would be wrong. A plateau scheduler has not
    seen the validation after its checkpoint, and `EarlyStoppingHook` has seen none, so both get the logged
    results. `tools/train.py --resume` adds the hook.
    """

    # After the hooks that write checkpoints and logs.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Replay the logged validations, and run the validation loop if the last one is missing."""
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        step, last = (runner.epoch, loop.max_epochs) if by_epoch else (runner.iter, loop.max_iters)
        # The loop changes its interval at milestones.
        interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, step + 1) - 1]
        due = step >= max(1, loop.val_begin) and (step % interval == 0 or step == last)
        if runner.val_loop is None:
            return
        # Of several rows of a step the last one counts.
        logged: Any = {row['step']: row for row in _validations(runner) if row['step'] <= step}
        missed = due and (step not in logged or _best_is_missing(runner, logged[step]))
        # All processes use what the first one has read.
        state = [logged, missed]
        dist.broadcast_object_list(state)
        logged, missed = state
        _replay(runner, [logged[number] for number in sorted(logged) if not (missed and number == step)])
        if missed:
            runner.logger.info(f'The validation of step {step} was not completed, and is run now.')
            runner.val_loop.run()
            runner.model.train()


def _validations(runner: Runner) -> Iterator[dict]:
    """Yield the logged validations in the folders of the checkpoint and of this run."""
    folders = dict.fromkeys((Path(str(runner._load_from)).parent, Path(runner.work_dir)))
    rows = chain.from_iterable(read_scalars(folder, resumed_at=runner.iter) for folder in folders)
    return (row for row in rows if 'loss' not in row)


def _replay(runner: Runner, validations: Sequence[dict]) -> None:
    """Pass logged validations to early stopping and plateau schedulers that have missed them."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook):
            for validation in validations:
                hook.after_val_epoch(runner, validation)
    schedulers = runner.param_schedulers or []
    for scheduler in chain(*schedulers.values()) if isinstance(schedulers, dict) else schedulers:
        # Steps of a scheduler count from -1. Schedulers with a later begin are left out.
        needs_result = getattr(scheduler, 'need_val_args', False) and scheduler.begin == 0
        if needs_result and scheduler.last_step + 2 == len(validations):
            scheduler.step(validations[-1])


def _best_is_missing(runner: Runner, logged: Mapping[str, float]) -> bool:
    """Whether a logged validation is better than the best score of the checkpoint."""
    info = runner.message_hub.runtime_info
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook) or not hook.save_best:
            continue
        if 'auto' in hook.key_indicators:
            # The hook does the same at its first validation.
            hook._init_rule(hook.rules, [next(key for key in logged if key != 'step')])
        single = len(hook.key_indicators) == 1
        for metric, is_better in hook.is_better_than.items():
            best = info.get('best_score' if single else f'best_score_{metric}')
            if metric in logged and (best is None or is_better(logged[metric], best)):
                return True
    return False
