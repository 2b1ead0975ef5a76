"""Write the HTML page of a run: curves, pictures, confusions, what to do next.

lfi report work_dirs/my

RUN is the folder of a run of MMEngine, also one that mim or OpenMMLab's tools have trained. It needs a
checkpoint and one config. lfi train writes the page, report.html in RUN, by itself at its end,
unless the environment variable LFI_REPORT is 0.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.errors import UsageError

from .arguments import ArgumentParser, add_device


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('run', metavar='RUN', help='folder of the run')
    add_device(parser)


def run(args: Namespace) -> None:
    """Write the page."""
    from lfi.apis.run_report import write_report

    folder = Path(args.run)
    if not folder.is_dir():
        raise UsageError(f'{folder} is no folder of a run: give that of lfi train, such as work_dirs/my')
    print(f'report: {write_report(folder, device=args.device)}')
