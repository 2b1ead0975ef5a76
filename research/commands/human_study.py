"""Ask people which interaction maps are better: make the page, analyse the answers.

python -m research human-study make --a CONFIG CHECKPOINT --b CONFIG CHECKPOINT --out study.html
python -m research human-study make --a CONFIG CHECKPOINT --b teacher --out study.html
python -m research human-study analyse answers*.json --key study.key.json

The page is one file, to be opened in a browser. study.key.json has the sources of its maps, and no rater
should see it. For details see research/human_study.md.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.cli.arguments import ArgumentParser, CfgOptions, positive, whole
from lfi.cli.running import run_tool

# Value of --b that compares with the maps of A's teacher.
TEACHER = 'teacher'


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', metavar='make|analyse', required=True)

    make = commands.add_parser('make', help='write the page and its key')
    make.add_argument(
        '--a', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'), help='an LFI classifier'
    )
    make.add_argument(
        '--b',
        nargs='+',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help=f'another classifier, a baseline by its class activation maps; or "{TEACHER}", the one of A',
    )
    make.add_argument('--out', required=True, help='the page, study.html; the key becomes study.key.json')
    make.add_argument(
        '--images', type=positive, default=40, metavar='N', help="images of A's validation set (%(default)s)"
    )
    make.add_argument('--catch', type=whole, default=8, metavar='K', help='catch trials (%(default)s)')
    make.add_argument(
        '--seed', type=whole, default=0, help='seed of the images, their order and their sides (%(default)s)'
    )
    make.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        metavar='KEY=VALUE',
        help='change settings of both configs',
    )

    analysis = commands.add_parser('analyse', help='print the result of the answers')
    analysis.add_argument('answers', nargs='+', metavar='ANSWERS', help='files that the raters saved')
    analysis.add_argument('--key', required=True, help='key written with the page')
    analysis.add_argument(
        '--least-catch',
        type=float,
        default=0.8,
        metavar='SHARE',
        help='exclude raters who answer a smaller share of the catch trials correctly (%(default)s)',
    )
    analysis.add_argument('--out', help='write all numbers to this JSON file')

    args = parser.parse_args()
    if args.command == 'make':
        if args.b != [TEACHER] and len(args.b) != 2:
            make.error(f'--b takes CONFIG CHECKPOINT or {TEACHER}, got {" ".join(args.b)}')
    elif not 0 <= args.least_catch <= 1:
        analysis.error(f'--least-catch {args.least_catch} must be from 0 to 1')
    return args


def main(args: Namespace) -> None:
    from research.human_study import make_and_analyse

    make_and_analyse.main(args)


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
