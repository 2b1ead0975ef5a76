"""Evaluate a checkpoint.

lfi test CONFIG CHECKPOINT
lfi test STUDENT STUDENT --data photos
tools/dist_test.sh CONFIG CHECKPOINT 8
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lfi.utils.next_commands import export_commands, infer_command, print_next

from .arguments import (
    DEVICE_SUBSTITUTE,
    ArgumentParser,
    add_checkpoint,
    add_config_arguments,
    add_run_arguments,
)

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

PREDICTIONS = ('.pkl', '.pickle')
METRICS = ('.json', '.yml', '.yaml', *PREDICTIONS)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_run_arguments(parser)
    add_checkpoint(parser)
    parser.add_argument(
        '--data',
        metavar='DATA',
        help="data to test on in place of the config's, in any format of lfi init; a saved student needs it",
    )
    parser.add_argument('--out', metavar='FILE', help='write the results to a file')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        default='pred',
        help='content of --out: metrics (.json, .yml or .pkl), or predictions (.pkl) (default: pred)',
    )
    parser.add_argument('--show-dir', metavar='DIR', help='folder for images with drawn predictions')
    parser.add_argument(
        '--tta', action='store_true', help="test-time augmentation by the config's tta_model and tta_pipeline"
    )
    parser.add_check(suffix_error)
    parser.add_substitutes(
        {
            **DEVICE_SUBSTITUTE,
            '--batch-size': '--cfg-options test_dataloader.batch_size={}',
            '--epochs': 'nothing: the epochs are those of the checkpoint',
            '--lr': 'nothing: a test has no learning rate',
        }
    )


def suffix_error(args: Namespace) -> str | None:
    """Return an error message if `--out` has the wrong suffix, else None."""
    if not args.out:
        return None
    if args.out_item == 'pred' and not args.out.endswith(PREDICTIONS):
        return f'predictions are written to a .pkl file, got --out {args.out}'
    if args.out_item == 'metrics' and not args.out.endswith(METRICS):
        return f'metrics are written to a {", ".join(METRICS)} file, got --out {args.out}'
    return None


def run(args: Namespace) -> None:
    """Test the checkpoint."""
    import mmengine
    from mmengine.config import ConfigDict
    from mmengine.registry import METRICS as REGISTRY
    from mmengine.runner import Runner

    from lfi.engine import launch, run_options
    from lfi.models.students.config_facts import without_cache
    from lfi.utils.process import override

    run_options.require_checkpoint(args.checkpoint)
    cfg = launch.load_run_config(args) if args.data is None else _load_config_for_data(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    # A cache holds maps of the training images only.
    cfg.model = ConfigDict(without_cache(cfg.model))
    run_options.add_concept_check(cfg)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='lfi.FittingWeightsHook')]
    if args.amp:
        run_options.check_amp_device()
        cfg.test_cfg.fp16 = True
    if args.show_dir:
        run_options.enable_drawing(cfg, args.show_dir)
    if args.tta:
        run_options.enable_tta(cfg)
    with override(Runner, 'dump_config', _dump_beside_log):
        runner = launch.build_runner(cfg)
    if args.out and args.out_item == 'pred':
        # mmdet's dump compresses masks.
        dump = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        runner.test_evaluator.metrics.append(REGISTRY.build({'type': dump, 'out_file_path': args.out}))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)
    inputs = (args.config, args.checkpoint)
    print_next(infer_command(*inputs, options=args.cfg_options), *export_commands(*inputs, args.cfg_options))


def _dump_beside_log(runner: Runner) -> None:
    """Write the config of a test beside its log: the work dir has the config of the training."""
    from mmengine.dist import is_main_process

    if is_main_process():
        runner.cfg.dump(Path(runner.log_dir) / Path(runner.cfg.filename or 'config.py').name)


def _load_config_for_data(args: Namespace) -> Config:
    """Load a config whose test data are those of `--data`."""
    from lfi.engine import launch
    from lfi.engine.checkpoints.reading import load_from_local
    from lfi.engine.config_loading import load_config
    from lfi.errors import UsageError
    from lfi.new_config.testing import set_test_data

    if args.launcher != 'none':
        raise UsageError('--data writes annotation files, and tests in one process')
    cfg = load_config(args.config, args.cfg_options)
    meta = load_from_local(args.checkpoint, 'cpu').get('meta') or {}
    classes = (meta.get('dataset_meta') or {}).get('classes')
    if not classes:
        raise UsageError(f'--data needs the names of the classes, which {args.checkpoint} lacks')
    work_dir = Path(args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem)
    set_test_data(cfg, classes, Path(args.data), work_dir / 'test_data')
    launch.set_up_run(cfg, args)
    return cfg
