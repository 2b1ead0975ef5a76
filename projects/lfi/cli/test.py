"""Evaluate a checkpoint.

lfi test CONFIG CHECKPOINT
tools/dist_test.sh CONFIG CHECKPOINT 8
"""

from __future__ import annotations

from argparse import Namespace

from .arguments import (
    DEVICE_SUBSTITUTE,
    ArgumentParser,
    add_checkpoint,
    add_config_arguments,
    add_run_arguments,
)

PREDICTIONS = ('.pkl', '.pickle')
METRICS = ('.json', '.yml', '.yaml', *PREDICTIONS)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_run_arguments(parser)
    add_checkpoint(parser)
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

    from lfi.engine import launch, run_options
    from lfi.models.students.config_facts import without_cache

    run_options.require_checkpoint(args.checkpoint)
    cfg = launch.load_run_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    # A cache holds maps of the training images only.
    cfg.model = ConfigDict(without_cache(cfg.model))
    run_options.add_concept_check(cfg)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='lfi.FittingWeightsHook')]
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show_dir:
        run_options.enable_drawing(cfg, args.show_dir)
    if args.tta:
        run_options.enable_tta(cfg)
    runner = launch.build_runner(cfg)
    if args.out and args.out_item == 'pred':
        # mmdet's dump compresses masks.
        dump = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        runner.test_evaluator.metrics.append(REGISTRY.build({'type': dump, 'out_file_path': args.out}))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)
