"""Evaluate a checkpoint.

python tools/test.py CONFIG CHECKPOINT
tools/dist_test.sh CONFIG CHECKPOINT 8
"""

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_config_arguments, add_run_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_run_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', metavar='FILE', help='write the results to a file')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        default='pred',
        help='what to write: metrics (.json, .yml or .pkl), or predictions (.pkl) (default: pred)',
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help='folder for images with the predictions drawn over them'
    )
    parser.add_argument(
        '--tta', action='store_true', help="test-time augmentation by the config's tta_model and tta_pipeline"
    )
    args = parser.parse_args()
    if args.out and args.out_item == 'pred' and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'predictions are written to a .pkl file, got --out {args.out}')
    metrics = ('.json', '.yml', '.yaml', '.pkl', '.pickle')
    if args.out and args.out_item == 'metrics' and not args.out.endswith(metrics):
        parser.error(f'metrics are written to a {", ".join(metrics)} file, got --out {args.out}')
    return args


def main(args: Namespace) -> None:
    import mmengine
    from lfi.engine import launch, run_options
    from mmengine.registry import METRICS

    run_options.require_checkpoint(args.checkpoint)
    cfg = launch.load_run_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if cfg.model.get('teacher_cache') is not None:
        # It holds the training images.
        cfg.model.teacher_cache = None
    run_options.check_concepts(cfg)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='lfi.FittingWeightsHook')]
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show_dir:
        run_options.draw_predictions(cfg, args.show_dir)
    if args.tta:
        run_options.enable_tta(cfg)
    runner = launch.build_runner(cfg)
    if args.out and args.out_item == 'pred':
        # mmdet's own stores masks compressed.
        dump = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        runner.test_evaluator.metrics.append(METRICS.build({'type': dump, 'out_file_path': args.out}))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    run_tool(parse_args, main)
