"""Handling of unreadable images in a run, for all data sets."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lfi.errors import UsageError
from lfi.unreadable import DEFAULT_SHARE, UnreadableList, refuse_all_unreadable, replace_unreadable
from lfi.utils.options import is_number


def max_unreadable(cfg: Config) -> float:
    """Return the largest share of training images that may be unreadable, a setting of the config.

    Raises:
        UsageError: if the setting is not in [0, 1].
    """
    share = cfg.get('max_unreadable', DEFAULT_SHARE)
    if not is_number(share) or not 0 <= share <= 1:
        raise UsageError(
            f'max_unreadable={share!r} must lie in [0, 1]: the share of the training images that may be left '
            'out because they cannot be read'
        )
    return share


def watch_images(runner: Runner, max_share: float) -> None:
    """Leave unreadable images out of training, and refuse them in validation and test.

    Unreadable images are logged, counted, and listed in a file beside the log of the run.

    Args:
        runner: Runner that has built no loop yet.
        max_share: largest share of training images that may be unreadable, in [0, 1].
    """
    build_loader, build_loop = runner.build_dataloader, runner.build_train_loop
    unreadable = UnreadableList(runner.log_dir)

    def build_train_loader(*args: Any, **kwargs: Any) -> Any:
        loader = build_loader(*args, **kwargs)
        replace_unreadable(loader.dataset, max_share, unreadable)
        return loader

    def build_metric_loader(*args: Any, **kwargs: Any) -> Any:
        loader = build_loader(*args, **kwargs)
        refuse_all_unreadable(loader.dataset, unreadable)
        return loader

    def build_train_loop(loop: Any) -> Any:
        # Iteration-based loops start their workers when they are built.
        runner.build_dataloader = build_train_loader
        try:
            return build_loop(loop)
        finally:
            runner.build_dataloader = build_metric_loader

    runner.build_dataloader = build_metric_loader
    runner.build_train_loop = build_train_loop
    runner.register_hook(_UnreadableSummaryHook(unreadable))


class _UnreadableSummaryHook(Hook):
    """Hook that logs the number of unreadable images at the end of training."""

    def __init__(self, unreadable: UnreadableList) -> None:
        self.unreadable = unreadable

    def after_train(self, runner: Runner) -> None:
        """Log the number of unreadable images and the file that lists them."""
        if self.unreadable:
            count, path = len(self.unreadable), self.unreadable.path
            runner.logger.warning(f'{count} images cannot be read, and were left out: {path} lists them')
