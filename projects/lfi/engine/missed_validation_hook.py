"""The validation that a kill interrupted."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from mmengine import dist
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from lfi.registry import HOOKS

from .scalars import read_scalars


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validates the checkpoint from which training resumes, where a kill has cut its validation off.

    MMEngine (0.10) writes a checkpoint, validates it, logs the result, writes the best checkpoint and then
    the checkpoint once more. A run that is killed in between resumes with the next epoch. Without this hook
    the results would lack that validation, or the best checkpoint would be another one.
    `tools/train.py --resume` adds it.
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
        logged = [row for row in _validations(runner) if row['step'] == step]
        # All processes do what the first one has read.
        missed = [not logged or _best_is_missing(runner, logged[-1])]
        dist.broadcast_object_list(missed)
        if missed[0]:
            runner.logger.info(f'The validation of step {step} was not completed, and is done now.')
            runner.val_loop.run()
            runner.model.train()


def _validations(runner: Runner) -> Iterator[dict]:
    """What is logged in the folder of the checkpoint, and in that of this run."""
    folders = dict.fromkeys((Path(str(runner._load_from)).parent, Path(runner.work_dir)))
    return (row for row in chain.from_iterable(map(read_scalars, folders)) if 'loss' not in row)


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
