"""What a run does about images that cannot be read, whatever its data sets."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lfi.errors import UsageError
from lfi.unreadable import DEFAULT_SHARE, FoundList, leave_out_unreadable, refuse_all_unreadable
from lfi.utils.options import is_number


def max_unreadable(cfg: Config) -> float:
    """The share of a data set's images that may be unreadable in training, a setting of the config.

    Raises:
        UsageError: it is no share.
    """
    share = cfg.get('max_unreadable', DEFAULT_SHARE)
    if not is_number(share) or not 0 <= share <= 1:
        raise UsageError(
            f'max_unreadable={share!r} must lie in [0, 1]: the share of the training images that may be left '
            'out because they cannot be read'
        )
    return share


def watch_images(runner: Runner, max_share: float) -> None:
    """Let a run train without the images that cannot be read, and neither validate nor test without any.

    Those that are found are named, counted, and listed in the folder of the run's log.

    Args:
        runner: that has built no loop yet.
        max_share: as `max_unreadable`.
    """
    build_loader, build_loop = runner.build_dataloader, runner.build_train_loop
    found = FoundList(runner.log_dir)

    def loader_of_training(*args: Any, **kwargs: Any) -> Any:
        loader = build_loader(*args, **kwargs)
        leave_out_unreadable(loader.dataset, max_share, found)
        return loader

    def loader_of_metric(*args: Any, **kwargs: Any) -> Any:
        loader = build_loader(*args, **kwargs)
        refuse_all_unreadable(loader.dataset, found)
        return loader

    def build_train_loop(loop: Any) -> Any:
        # Loops over iterations start their workers when they are built.
        runner.build_dataloader = loader_of_training
        try:
            return build_loop(loop)
        finally:
            runner.build_dataloader = loader_of_metric

    runner.build_dataloader = loader_of_metric
    runner.build_train_loop = build_train_loop
    runner.register_hook(_SayHowMany(found))


class _SayHowMany(Hook):
    """Says at the end of a training how many images were left out."""

    def __init__(self, found: FoundList) -> None:
        self.found = found

    def after_train(self, runner: Runner) -> None:
        """Say how many, and where they are listed."""
        if self.found:
            runner.logger.warning(
                f'{len(self.found)} images cannot be read, and were left out: {self.found.path} lists them'
            )
