"""Train a model.

lfi train CONFIG
lfi train CONFIG --cache-teacher
tools/dist_train.sh CONFIG 8 --amp
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from .arguments import ArgumentParser, add_config_arguments, add_training_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_training_arguments(parser)
    add_cache_teacher(parser)


def add_cache_teacher(parser: ArgumentParser) -> None:
    """Add `--cache-teacher`."""
    parser.add_argument(
        '--cache-teacher',
        nargs='?',
        const='',
        metavar='DIR',
        help='run the teacher once over the images before training, as lfi cache does, and train from its '
        'maps (without a name: into teacher_cache of the work dir). A finished cache is used again',
    )


def run(args: Namespace) -> None:
    """Train the config's model."""
    from lfi.engine import launch, run_options
    from lfi.engine.processes import join_processes

    cfg = launch.load_run_config(args)
    if args.cache_teacher is not None:
        from lfi.apis.caching import cache_teacher

        folder = args.cache_teacher or str(Path(cfg.work_dir) / 'teacher_cache')
        join_processes(cfg)
        cache_teacher(cfg, folder)
        cfg.model.teacher.cache = folder
    launch.prepare_training(cfg, args.resume)
    if args.amp:
        run_options.enable_amp(cfg)
    if args.auto_scale_lr:
        run_options.enable_auto_scale_lr(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    launch.run_training(cfg)
