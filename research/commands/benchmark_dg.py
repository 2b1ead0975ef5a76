"""Leave out each domain in turn, and compare methods with a baseline over seeds.

python -m research benchmark-dg configs/baselines/task-loss_vit-128x6-p8_pacs.py \\
    configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_pacs.py --cache-teacher

For each config, domain and seed it trains by tools/train.py on all domains but one, takes the epoch with the
best accuracy on held-out images of those domains, and tests it by tools/test.py on the domain left out. What
is finished is not run again, and what was stopped goes on. It writes results.md and results.json.

The other protocol needs no training here: a checkpoint that was trained elsewhere, and the classes named when
it is tested:

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
        'configs', nargs='*', type=config_file, metavar='CONFIG', help='the baseline, and the methods'
    )
    add_study_arguments(parser, seeds=[0, 1, 2])
    parser.add_argument(
        '--epochs', type=positive, help="fit the schedule to so many (default: the configs' own)"
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
        help='test a checkpoint by a config that names the classes; may be given several times',
    )
    parser.add_argument('--work-dir', default='work_dirs/benchmark_dg', help='(default: %(default)s)')
    args = parser.parse_args()
    if not args.configs and not args.zero_shot:
        parser.error('name a baseline and a method, or use --zero-shot')
    if len({Path(config).stem for config in args.configs}) < len(args.configs):
        parser.error('the CONFIGs must differ in their names')
    if args.epochs is not None and args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: the schedule has a warm-up, give 2 or more')
    return args


def main(args: Namespace) -> None:
    from research.studies import benchmark_dg

    benchmark_dg.main(args)


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
