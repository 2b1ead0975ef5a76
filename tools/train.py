"""Train a model: `python tools/train.py CONFIG`."""

import argparse

import lfi  # noqa: F401
from lfi.datasets.transforms import refuse_unrecorded_steps
from lfi.engine import launch
from lfi.engine.machine import MACHINE, machine
from lfi.engine.pipelines import set_teacher_cache


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    launch.add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from a checkpoint; without a name, from the last complete one in the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launch.load_run_config(args)
    launch.write_checkpoints_atomically(cfg)
    launch.set_resume(cfg, args.resume)
    set_teacher_cache(cfg)
    refuse_unrecorded_steps((cfg.get('train_dataloader') or {}).get('dataset'), cfg.get('default_scope'))
    if args.amp:
        launch.enable_amp(cfg)
    if args.auto_scale_lr:
        launch.enable_auto_scale_lr(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = launch.build_runner(cfg)
    runner.logger.info(f'{MACHINE}{machine()}')
    runner.train()


if __name__ == '__main__':
    launch.run(main)
