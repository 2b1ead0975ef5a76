"""Run a study, each arm with each seed, and write its tables and its plot.

    python -m research study shapes                      # on this machine
    python -m research study tiny-full --gpus 8          # each cell by tools/dist_train.sh
    python -m research study tiny-full --slurm PARTITION --gpus 8 --jobs 4
    python -m research study dg                          # PACS and VLCS, left out and zero-shot
    python -m research study --list
    python -m research study --print-commands shapes --arms lfi-spatial

Finished cells are not run again, and interrupted ones are resumed. With --publish, published cells of the
same settings count as finished.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool
from lfi.errors import did_you_mean

from research.studies.presets import GROUPS, PRESETS

from .arguments import add_study_arguments


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('study', nargs='?', metavar='STUDY', help='name of a study or a group, see --list')
    parser.add_argument('--list', action='store_true', help='describe the studies and exit')
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='print the commands of each arm with the first seed, and run nothing',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder of the study; for a group, the parent of one folder per study (default: '
        'work_dirs/reproduce/STUDY)',
    )
    add_study_arguments(parser)
    parser.add_argument(
        '--arms', nargs='+', metavar='ARM', help='run only these; include the baseline if it has no result'
    )
    parser.add_argument(
        '--gpus',
        type=positive,
        help='processes that share the batch of a cell and the writing of a cache (default: one, without a '
        'launcher)',
    )
    parser.add_argument(
        '--slurm',
        metavar='PARTITION',
        help='run each cell as a Slurm job; one process on this machine writes the caches of the teacher',
    )
    parser.add_argument(
        '--publish',
        metavar='ROOT',
        help='root of the repository: write the tables to its pages and the numbers to research/published',
    )
    args = parser.parse_args()
    if args.list:
        print_studies()
        parser.exit()
    studies = [*PRESETS, *GROUPS]
    if args.study is None:
        parser.error(f'name a study: {", ".join(studies)}')
    if args.study not in studies:
        parser.error(
            f'there is no study {args.study}; {did_you_mean(args.study, studies) or ", ".join(studies)}'
        )
    if args.slurm and not args.gpus:
        parser.error('--slurm needs --gpus')
    for study in GROUPS.get(args.study, [args.study]):
        arms = [arm.name for arm in (*PRESETS[study].arms, *PRESETS[study].short_arms)]
        unknown = set(args.arms or []) - set(arms)
        if unknown:
            parser.error(f'--arms {" ".join(sorted(unknown))}: {study} has {", ".join(arms)}')
        if args.domains and not PRESETS[study].leaves_domains_out:
            parser.error(f'--domains: {study} leaves no domain out')
    return args


def print_studies() -> None:
    for name, preset in PRESETS.items():
        print(f'{name}: {preset.about}\n    arms: {", ".join(arm.name for arm in preset.arms)}')
    for name, studies in GROUPS.items():
        print(f'{name}: {", ".join(studies)}')


def study_folder(study: str, args: Namespace) -> Path:
    """Return the folder of a study's cells, below --out if the study runs in a group."""
    if not args.out:
        return Path('work_dirs/reproduce', study)
    return Path(args.out, study) if args.study in GROUPS else Path(args.out)


def main(args: Namespace) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from mmengine.logging import MMLogger

    from research.studies.launcher import Launcher
    from research.studies.reproduce import Request, commands, reproduce

    # MMEngine logs the variables of each config, which would mix with the printed commands.
    MMLogger.get_current_instance().setLevel('WARNING')
    studies = GROUPS.get(args.study, (args.study,))
    for name in studies:
        request = Request(
            out=study_folder(name, args),
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
