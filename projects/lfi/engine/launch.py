"""Launching of tools: from their arguments to a Runner."""

from __future__ import annotations

import argparse
import os
import os.path as osp
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import IterableDataset

from lfi.errors import CheckpointError, UsageError
from lfi.utils.options import option_in_message
from lfi.utils.repositories import is_student

from .cached_pipelines import set_teacher_cache
from .checkpoints.initial_weights import check_initial_weights
from .checkpoints.reading import install_safe_checkpoint_loading
from .config_loading import load_config
from .error_messages import POSSIBLE_USER_ERRORS, error_text, user_error_message
from .few_labels_option import check_few_labels
from .hooks.non_finite import NonFiniteError
from .hooks.progress import ProgressHook
from .machine import MACHINE, keep_freed_memory, machine
from .pipelines import LOADERS, check_pipelines, check_unrecorded_steps
from .processes import destroy_process_group, set_up_distributed
from .quiet_runner import QuietRunner, log_data, log_start
from .run_options import (
    add_concept_check,
    add_progress,
    log_validation_by_iteration,
    set_loggers,
    set_resume,
    write_checkpoints_atomically,
)
from .streams import set_stream
from .watch_images import max_unreadable, watch_images

# Exit code of a program that Ctrl-C stopped.
INTERRUPTED = 130
SHOW_TRACEBACK = 'LFI_TRACEBACK'


def run(
    main: Callable[[], None], *user_errors: type[Exception], options: Mapping[str, Any] | None = None
) -> None:
    """Run a tool. An error that the user can fix is reported as one line, not as a traceback.

    Checkpoints are loaded safely in this process. `LFI_TRACEBACK=1` shows the traceback.

    Args:
        main: Main function of the tool.
        *user_errors: Further types of errors that the user can fix.
        options: `--cfg-options`. A message that quotes one of the values also names the option. Defaults to
            None.
    """
    install_safe_checkpoint_loading()
    if get_device() == 'cpu':
        keep_freed_memory()
    expected: tuple[type[Exception], ...] = (UsageError, CheckpointError, NonFiniteError, *user_errors)
    try:
        main()
    except expected as error:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        _exit(error_text(error), options or {})
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except POSSIBLE_USER_ERRORS as error:
        message = user_error_message(error)
        if message is None or os.environ.get(SHOW_TRACEBACK):
            raise
        _exit(message, options or {})
    destroy_process_group()


def _exit(message: str, options: Mapping[str, Any]) -> NoReturn:
    sys.exit(f'error: {message}{option_in_message(message, options)}')


def load_run_config(args: argparse.Namespace) -> Config:
    """Load the config of a run, and set its work dir, launcher and data loaders."""
    if is_student(args.config):
        raise UsageError(
            f'config {args.config} is a saved student, which has no data sets: give the config of its '
            'training, and the student as the checkpoint; or test the student on --data DATA'
        )
    cfg = load_config(args.config, args.cfg_options)
    set_up_run(cfg, args)
    return cfg


def set_up_run(cfg: Config, args: argparse.Namespace) -> None:
    """Set the work dir of a run, check the config, and set up distributed processes."""
    default_work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir
    prepare_run(cfg)
    set_up_distributed(cfg, args.launcher, args.local_rank)


def prepare_run(cfg: Config) -> None:
    """Check the config of a run, which has its work dir, and set its loggers and data loaders.

    Raises:
        UsageError: If a check fails.
    """
    set_loggers(cfg)
    check_pipelines(cfg)
    check_few_labels(cfg)
    set_stream(cfg)
    set_dataloader_defaults(cfg)


def set_dataloader_defaults(cfg: Config) -> None:
    """Set the defaults of OpenMMLab's tools in the data loaders, as far as machine and task allow.

    Memory is pinned if there is a GPU, workers persist if there are any, and mmpretrain's samples are
    collated in the workers. Settings of the config stay, except for `persistent_workers` without workers.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
        # Detection keeps mmengine's `pseudo_collate`: the images of a batch differ in size.
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', {'type': 'default_collate'})


def prepare_training(cfg: Config, resume: str | None = None) -> None:
    """Add the hooks of a training to a config of `prepare_run`, and set its cache and its start.

    Args:
        cfg: Config of the run, changed in place.
        resume: See `set_resume`. Defaults to None.

    Raises:
        UsageError: If the checkpoint does not exist, or the pipelines cannot read the cache.
    """
    write_checkpoints_atomically(cfg)
    log_validation_by_iteration(cfg)
    add_concept_check(cfg)
    add_progress(cfg)
    set_resume(cfg, resume)
    set_teacher_cache(cfg)
    check_unrecorded_steps(cfg)


def run_training(cfg: Config) -> None:
    """Train by the config of `prepare_training`.

    Raises:
        UsageError: If the training data loader is empty.
    """
    runner = build_runner(cfg)
    # FlexibleRunner builds the model later.
    if isinstance(runner.model, nn.Module) and not cfg.get('resume'):
        check_initial_weights(runner.model)
    runner.logger.info(f'{MACHINE}{machine()}')
    require_batches(runner)
    log_data(runner)
    try:
        runner.train()
    finally:
        for hook in runner.hooks:
            if isinstance(hook, ProgressHook):
                hook.close()
    _end_data_workers(runner)


def _end_data_workers(runner: Runner) -> None:
    """Drop the data loaders of a finished training, which ends their worker processes at once.

    The garbage collector would close the queue of a worker first, and its loader would then wait for 5 s.
    """
    for loop in filter(None, (runner.train_loop, runner.val_loop)):
        # A loop by iterations has an endless iterator, too.
        for name in ('dataloader_iterator', 'dataloader'):
            vars(loop).pop(name, None)


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config, which handles unreadable images; see `watch_images` and `QuietRunner`."""
    max_share = max_unreadable(cfg)
    runner = _runner_of_type(cfg)
    watch_images(runner, max_share)
    log_start(runner)
    return runner


def _runner_of_type(cfg: Config) -> Runner:
    """Build a Runner, of the type ``runner_type`` if the config has one."""
    if 'runner_type' not in cfg:
        return QuietRunner.from_cfg(cfg)
    hook: ConfigDict = (cfg.get('default_hooks') or {}).get('checkpoint') or ConfigDict()
    if cfg.runner_type.endswith('FlexibleRunner') and hook.get('save_best'):
        # mmengine (0.10) rewrites the last checkpoint with the best one, and with a wrong epoch.
        print_log(f'save_best={hook.save_best!r} is ignored: FlexibleRunner cannot resume with it', 'current')
        hook.save_best = None
    return RUNNERS.build(cfg)


def require_batches(runner: Runner) -> None:
    """Refuse a training without batches, which would save untrained weights as a finished run.

    Raises:
        UsageError: If the training data loader is empty.
    """
    loader = runner.train_loop.dataloader
    if isinstance(loader.dataset, IterableDataset):
        return
    # An infinite sampler fills batches from any number of images above 0.
    if len(loader.dataset if isinstance(loader.sampler, InfiniteSampler) else loader):
        return
    raise UsageError(
        f'train_dataloader has no batch: {len(loader.dataset)} images, {get_world_size()} processes, '
        f'batch_size={loader.batch_size}, drop_last={loader.drop_last}. Set a smaller '
        'train_dataloader.batch_size, or train_dataloader.drop_last=False'
    )
