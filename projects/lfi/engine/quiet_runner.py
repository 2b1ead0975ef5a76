"""A Runner whose console fits on a screen before the first epoch."""

from __future__ import annotations

import logging
import os.path as osp
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import IterableDataset

from lfi.utils.modules import unwrap_model

FILE_ONLY = (
    'System environment:',
    'Config:',
    'Hooks will be executed',
    'paramwise_options',
    'Distributed training is not used, all SyncBatchNorm',
)
"""First words of the messages that go to the log file alone."""
OUTDATED = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')
"""First words of warnings about MMEngine's own calls."""
DATA = 'Data: '
"""Prefix of the log line that has the size of the training data."""


class QuietRunner(Runner):
    """Runner that writes the environment, the config and the hooks to the log file alone."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, see `Runner`."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_is_not_outdated)
        for handler in logger.handlers:
            # A FileHandler is a StreamHandler too.
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_console)
        return logger


def log_start(runner: Runner) -> None:
    """Log the model, and where the whole log and the config are."""
    model = unwrap_model(runner.model)
    # FlexibleRunner builds the model later.
    if isinstance(model, nn.Module):
        count = sum(parameter.numel() for parameter in model.parameters())
        runner.logger.info(f'Model: {type(model).__name__}, {count / 1e6:.2f} M parameters')
    log_file = osp.join(runner.log_dir, f'{runner.timestamp}.log')
    runner.logger.info(f'Log with the environment and the whole config: {log_file}')


def log_data(runner: Runner) -> None:
    """Log the size of the training data."""
    loader = runner.train_loop.dataloader
    # A loader with a batch sampler of its own, such as mmdet's, has no batch size.
    batch_size = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
    data = loader.dataset
    is_stream = isinstance(data, IterableDataset)
    count = f'a stream of {data}' if is_stream else f'{len(data):,} training images'
    runner.logger.info(f'{DATA}{count}, {batch_size} in a batch')


def _is_for_console(record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip('\n-').startswith(FILE_ONLY)


def _is_not_outdated(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(OUTDATED)
