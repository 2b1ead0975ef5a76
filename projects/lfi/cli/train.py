"""Train a model.

lfi train CONFIG
tools/dist_train.sh CONFIG 8 --amp
"""

from __future__ import annotations

from argparse import Namespace

from .arguments import ArgumentParser, add_config_arguments, add_training_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_training_arguments(parser)


def run(args: Namespace) -> None:
    """Train the config's model."""
    from lfi.engine import launch, run_options
    from lfi.engine.machine import MACHINE, machine
    from lfi.engine.pipelines import check_unrecorded_steps, set_teacher_cache

    cfg = launch.load_run_config(args)
    run_options.write_checkpoints_atomically(cfg)
    run_options.log_validation_by_iteration(cfg)
    run_options.add_concept_check(cfg)
    run_options.set_resume(cfg, args.resume)
    set_teacher_cache(cfg)
    check_unrecorded_steps(cfg)
    if args.amp:
        run_options.enable_amp(cfg)
    if args.auto_scale_lr:
        run_options.enable_auto_scale_lr(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = launch.build_runner(cfg)
    runner.logger.info(f'{MACHINE}{machine()}')
    launch.require_batches(runner)
    runner.train()
