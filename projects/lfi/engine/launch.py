"""What the tools share: from their arguments to a Runner."""

from __future__ import annotations

import argparse
import gc
import os
import os.path as osp
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from lfi.errors import CheckpointError, UsageError
from lfi.utils.options import blamed_option
from lfi.utils.repositories import is_student

from .checkpoints.reading import install_safe_checkpoint_loading
from .config_loading import load_config
from .error_messages import MISTAKES, said_of, words_of
from .few_labels_option import check_few_labels
from .hooks.non_finite import NonFiniteError
from .machine import keep_freed_memory
from .pipelines import LOADERS, check_pipelines
from .processes import start_processes
from .run_options import set_loggers
from .watch_images import max_unreadable, watch_images

# What a shell says of a program that Ctrl-C stopped.
INTERRUPTED = 130
SHOW_TRACEBACK = 'LFI_TRACEBACK'


def run(
    main: Callable[[], None], *mistakes: type[Exception], options: Mapping[str, Any] | None = None
) -> None:
    """Run a tool's ``main``; errors that the user can fix end it with one line instead of a traceback.

    Checkpoints are read safely in its process. `LFI_TRACEBACK=1` shows the traceback all the same.

    Args:
        main: The tool.
        *mistakes: Further errors that the user of this tool can fix.
        options: `--cfg-options` that the line names where it has the value of one. Defaults to none.
    """
    install_safe_checkpoint_loading()
    if get_device() == 'cpu':
        keep_freed_memory()
    expected: tuple[type[Exception], ...] = (UsageError, CheckpointError, NonFiniteError, *mistakes)
    try:
        main()
    except expected as error:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        _end(words_of(error), options or {})
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MISTAKES as error:
        mistake = said_of(error)
        if mistake is None or os.environ.get(SHOW_TRACEBACK):
            raise
        _end(mistake, options or {})
    if torch.distributed.is_initialized():
        # The Runner is a cycle, whose DDP holds the group; a group that outlives the interpreter aborts it.
        gc.collect()
        torch.distributed.destroy_process_group()


def _end(message: str, options: Mapping[str, Any]) -> NoReturn:
    sys.exit(f'error: {message}{blamed_option(message, options)}')


def load_run_config(args: argparse.Namespace) -> Config:
    """`load_config`, with work dir, launcher and data loaders set for the run."""
    if is_student(args.config):
        raise UsageError(
            f'config {args.config} is a student without its data: give the config of its training, and '
            'this as the checkpoint'
        )
    cfg = load_config(args.config, args.cfg_options)
    default_work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir
    set_loggers(cfg)
    check_pipelines(cfg)
    check_few_labels(cfg)
    set_dataloader_defaults(cfg)
    start_processes(cfg, args.launcher, args.local_rank)
    return cfg


def set_dataloader_defaults(cfg: Config) -> None:
    """Give the data loaders the defaults of OpenMMLab's tools, as far as the machine and the task allow.

    Memory is pinned where there is a GPU, workers persist where there are any, and mmpretrain's samples are
    collated into batches in the workers. Settings of the config stay, except for workers that cannot persist.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
        # Detection needs mmengine's own default: images of one batch differ in size.
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', {'type': 'default_collate'})


def build_runner(cfg: Config) -> Runner:
    """Build the config's Runner, which watches its images, as `watch_images` says."""
    max_share = max_unreadable(cfg)
    runner = _runner_of_type(cfg)
    watch_images(runner, max_share)
    return runner


def _runner_of_type(cfg: Config) -> Runner:
    """The Runner of the type that ``runner_type`` names if it names one."""
    if 'runner_type' not in cfg:
        return Runner.from_cfg(cfg)
    hook: ConfigDict = (cfg.get('default_hooks') or {}).get('checkpoint') or ConfigDict()
    if cfg.runner_type.endswith('FlexibleRunner') and hook.get('save_best'):
        # mmengine (0.10) writes the last checkpoint again with the best one, and then a wrong epoch into it.
        print_log(
            f'save_best={hook.save_best!r} is left out: FlexibleRunner cannot resume with it', 'current'
        )
        hook.save_best = None
    return RUNNERS.build(cfg)


def require_batches(runner: Runner) -> None:
    """Refuse to train on no batch, after which untrained weights would be saved as a finished run.

    Raises:
        UsageError: The data loader is empty; the message says of what it is made.
    """
    loader = runner.train_loop.dataloader
    # A sampler without end fills batches also of fewer images, if there are any.
    if len(loader.dataset if isinstance(loader.sampler, InfiniteSampler) else loader):
        return
    raise UsageError(
        f'train_dataloader has no batch: {len(loader.dataset)} images, {get_world_size()} processes, '
        f'batch_size={loader.batch_size}, drop_last={loader.drop_last}. Set a smaller '
        'train_dataloader.batch_size, or train_dataloader.drop_last=False'
    )
