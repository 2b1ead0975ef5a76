"""Leave out each domain in turn, and compare methods with a baseline over seeds.

python -m research benchmark-dg configs/baselines/task-loss_vit-128x6-p8_pacs.py \\
    configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_pacs.py --cache-teacher

For each config, domain and seed, tools/train.py trains on all other domains. The epoch with the best accuracy
on held-out images of these domains is tested by tools/test.py on the domain left out. Finished cells are not
run again, and interrupted ones are resumed. The command writes results.md and results.json.

The second protocol tests a trained checkpoint zero-shot, with classes that the config names:

python -m research benchmark-dg --zero-shot \\
    configs/domain_generalization/zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_pacs.py CHECKPOINT
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.cli.arguments import ArgumentParser, config_file, positive
from lfi.cli.running import run_tool

from .arguments import add_study_arguments


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs', nargs='*', type=config_file, metavar='CONFIG', help='the baseline, then the methods'
    )
    add_study_arguments(parser, seeds=[0, 1, 2])
    parser.add_argument(
        '--epochs', type=positive, help='fit the schedule to this number of epochs (default: as configured)'
    )
    parser.add_argument(
        '--cache-teacher', action='store_true', help='ask the teacher once about each unaugmented image'
    )
    parser.add_argument(
        '--zero-shot',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='test a checkpoint with a config that names the classes; may be repeated',
    )
    parser.add_argument(
        '--work-dir', default='work_dirs/benchmark_dg', help='folder of the results (default: %(default)s)'
    )
    args = parser.parse_args()
    if not args.configs and not args.zero_shot:
        parser.error('give the CONFIGs of a baseline and a method, or use --zero-shot')
    if len({Path(config).stem for config in args.configs}) < len(args.configs):
        parser.error('the CONFIGs must have different file names')
    if args.epochs is not None and args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: give 2 or more, since the first one is the warm-up')
    return args


def main(args: Namespace) -> None:
    from research.studies import benchmark_dg

    benchmark_dg.main(args)


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
