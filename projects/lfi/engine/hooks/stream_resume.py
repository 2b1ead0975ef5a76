"""Resuming of a training on a stream."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from lfi.registry import HOOKS


@HOOKS.register_module()
class StreamResumeHook(Hook):
    """Hook that begins a stream in another order when a training resumes, and reads nothing that was read.

    MMEngine's loop would read all images up to the iteration, and skip them.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Restart the workers of a resumed training."""
        loop: Any = runner.train_loop
        if not loop.iter:
            return
        dataset = loop.dataloader.dataset
        order = (
            'with shards and images in another order. Some images come again sooner, and others later, than '
            'without the stop'
            if dataset.shuffle or dataset.resampled
            else 'with its first image, since shuffle=0: later images may never come'
        )
        print_log(f'Resumed at iteration {loop.iter}: the stream begins anew, {order}', 'current')
        dataset.resume(loop.iter)
        # Its workers have begun with the first order.
        loop.dataloader._iterator = None
        iterator = type(loop.dataloader_iterator)(loop.dataloader)
        if hasattr(loop, 'fast_forward_on_resume'):
            loop.fast_forward_on_resume = True
            loop.dataloader_iterator = iterator
        else:
            loop.dataloader_iterator = _Advanced(iterator, loop.iter)


class _Advanced:
    """Iterator whose first items are None, which a loop skips.

    Args:
        iterator: iterator of the batches.
        number: number of items to skip.
    """

    def __init__(self, iterator: Any, number: int) -> None:
        self.iterator, self.number = iterator, number

    def __iter__(self) -> _Advanced:
        return self

    def __next__(self) -> Any:
        if self.number > 0:
            self.number -= 1
            return None
        return next(self.iterator)
