"""Train a model.

lfi train CONFIG
lfi train CONFIG --cache-teacher
tools/dist_train.sh CONFIG 8 --amp

At its end a training writes report.html into the work dir, unless the environment variable LFI_REPORT is 0.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lfi.utils.next_commands import infer_command, print_next

from .arguments import ArgumentParser, add_config_arguments, add_training_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


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
    """Train the config's model, and print what tests it."""
    cfg = train(args)
    if checkpoint := trained_checkpoint(cfg):
        print_next(*commands_for_trained(cfg, checkpoint))


def train(args: Namespace) -> Config:
    """Train the config's model, and return the config that ran."""
    from mmengine.dist import is_main_process

    from lfi.apis.run_report import report_training
    from lfi.engine import launch, run_options
    from lfi.engine.processes import destroy_process_group, init_process_group

    cfg = launch.load_run_config(args)
    if args.cache_teacher is not None:
        from lfi.apis.caching import cache_teacher
        from lfi.structures.interaction_cache import CacheManifest
        from lfi.utils.stores import list_files

        folder = args.cache_teacher or str(Path(cfg.work_dir) / 'teacher_cache')
        init_process_group(cfg)
        # A finished cache may have other views than a new one.
        is_cache = 'manifest.json' in list_files(folder)
        cache_teacher(cfg, folder, views=CacheManifest.read(folder).views if is_cache else 1)
        cfg.model.teacher.cache = folder
    launch.prepare_training(cfg, args.resume)
    if args.amp:
        run_options.enable_amp(cfg)
    if args.auto_scale_lr:
        run_options.enable_auto_scale_lr(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    launch.run_training(cfg)
    if is_main_process():
        # The page is made in one process, which must not wait for the others.
        destroy_process_group()
        report_training(cfg)
    return cfg


def trained_checkpoint(cfg: Config) -> str | None:
    """Return the best checkpoint of a run, or the last one; None if the run keeps none."""
    from lfi.engine.run_folder import best_checkpoint
    from lfi.errors import UsageError

    folder = Path(cfg.work_dir)
    try:
        found = best_checkpoint(folder)
    except UsageError:
        return None
    # MMEngine notes the last one by its absolute path.
    near = folder / found.name
    return str(near if near.exists() else found)


def commands_for_trained(cfg: Config, checkpoint: str) -> list[list[str]]:
    """Return the commands that test a trained model, and that ask it about images, as far as it can."""
    # MMEngine wrote it, with the options of the command line.
    config = str(Path(cfg.work_dir) / Path(cfg.filename).name)
    commands = []
    if cfg.get('test_evaluator'):
        commands.append(['lfi', 'test', config, checkpoint])
    if cfg.get('test_dataloader'):
        commands.append(infer_command(config, checkpoint))
    return commands
