"""A training that resumes from a file that lacks the training's state."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

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
