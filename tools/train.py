"""Train a model.

python tools/train.py CONFIG
tools/dist_train.sh CONFIG 8 --amp
"""

from argparse import Namespace

from lfi.arguments import ArgumentParser, add_run_arguments
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_run_arguments(parser)
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


def main(args: Namespace) -> None:
    from lfi.datasets.transforms import refuse_unrecorded_steps
    from lfi.engine import launch
    from lfi.engine.machine import MACHINE, machine
    from lfi.engine.pipelines import set_teacher_cache, switched_pipelines

    cfg = launch.load_run_config(args)
    launch.write_checkpoints_atomically(cfg)
    launch.set_resume(cfg, args.resume)
    set_teacher_cache(cfg)
    switched = [dict(pipeline=steps) for steps in switched_pipelines(cfg.get('custom_hooks') or ())]
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    refuse_unrecorded_steps([dataset, *switched], cfg.get('default_scope'))
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
    run_tool(parse_args, main)
