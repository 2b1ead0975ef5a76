"""Run a study, every arm with every seed, and write its tables and its plot.

    python -m research study shapes                      # on this machine
    python -m research study tiny-full --gpus 8          # each cell by tools/dist_train.sh
    python -m research study tiny-full --slurm PARTITION --gpus 8 --jobs 4
    python -m research study dg                          # PACS and VLCS, left out and zero-shot
    python -m research study --list
    python -m research study --print-commands shapes --arms lfi-spatial

It goes on where it was stopped: what is finished is not run again, and what was interrupted is resumed. With
--publish, what is published counts as finished too, where it was run with the same settings.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool
from lfi.errors import nearest

from research.studies.presets import GROUPS, PRESETS

from .arguments import add_study_arguments


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('study', nargs='?', metavar='STUDY', help='its name, one of those of --list')
    parser.add_argument('--list', action='store_true', help='say what the studies are')
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='print what one would type to run each arm with the first seed, and run nothing',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder of the study; of a group, the folder that has one for each of its studies (default: '
        'work_dirs/reproduce/STUDY, for each study)',
    )
    add_study_arguments(parser)
    parser.add_argument(
        '--arms', nargs='+', metavar='ARM', help='only these; the baseline among them, if it has no result'
    )
    parser.add_argument(
        '--gpus',
        type=positive,
        help='processes that share the batch of a cell, and the writing of a cache; default: one, without a '
        'launcher',
    )
    parser.add_argument(
        '--slurm',
        metavar='PARTITION',
        help='run each cell as a Slurm job; caches of a teacher are written on this machine, by one process',
    )
    parser.add_argument(
        '--publish',
        metavar='ROOT',
        help='the repository, whose pages get the tables, and research/published the numbers',
    )
    args = parser.parse_args()
    if args.list:
        print_studies()
        parser.exit()
    known = [*PRESETS, *GROUPS]
    if args.study is None:
        parser.error(f'name a study: {", ".join(known)}')
    if args.study not in known:
        parser.error(f'there is no study {args.study}; {nearest(args.study, known) or ", ".join(known)}')
    if args.slurm and not args.gpus:
        parser.error('--slurm needs --gpus')
    for study in GROUPS.get(args.study, [args.study]):
        arms = [arm.name for arm in (*PRESETS[study].arms, *PRESETS[study].short_arms)]
        unknown = set(args.arms or []) - set(arms)
        if unknown:
            parser.error(f'--arms {" ".join(sorted(unknown))}: {study} has {", ".join(arms)}')
        if args.domains and not PRESETS[study].leaves_domains_out:
            parser.error(f'--domains: {study} leaves none out')
    return args


def print_studies() -> None:
    for name, preset in PRESETS.items():
        print(f'{name}: {preset.about}\n    arms: {", ".join(arm.name for arm in preset.arms)}')
    for name, studies in GROUPS.items():
        print(f'{name}: {", ".join(studies)}')


def folder_of(study: str, args: Namespace) -> Path:
    """Where a study's cells lie, whether it is run by itself or in a group, unless --out says otherwise."""
    if not args.out:
        return Path('work_dirs/reproduce', study)
    return Path(args.out, study) if args.study in GROUPS else Path(args.out)


def main(args: Namespace) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from mmengine.logging import MMLogger

    from research.studies.launcher import Launcher
    from research.studies.reproduce import Request, commands, reproduce

    # MMEngine says of each config which variables it read, once a cell, and among the commands.
    MMLogger.get_current_instance().setLevel('WARNING')
    studies = GROUPS.get(args.study, (args.study,))
    for name in studies:
        request = Request(
            out=folder_of(name, args),
            seeds=args.seeds,
            arms=args.arms,
            domains=args.domains,
            launcher=Launcher(args.gpus, args.slurm, *(['python'] if args.print_commands else [])),
            jobs=args.jobs,
            cfg_options=args.cfg_options,
            publish=Path(args.publish) if args.publish else None,
        )
        if args.print_commands:
            print('\n'.join(commands(PRESETS[name], request)))
            continue
        print(f'\n{reproduce(name, PRESETS[name], request)}\n\nTables and numbers: {request.out}/results*')


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
