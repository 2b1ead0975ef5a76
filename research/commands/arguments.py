"""Arguments shared by the commands of the studies."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from lfi.cli.arguments import CfgOptions, positive, whole


class CfgPairs(CfgOptions):
    """Action that checks ``--cfg-options`` and keeps the typed pairs, for use in other command lines."""

    def keep(self, namespace: argparse.Namespace, found: dict[str, Any], typed: Sequence[str]) -> None:
        """Append the typed pairs to the namespace."""
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *typed])


def add_study_arguments(parser: argparse.ArgumentParser, seeds: Sequence[int] | None = None) -> None:
    """Add ``--seeds``, ``--domains``, ``--jobs`` and ``--cfg-options`` to a parser.

    Args:
        parser: parser of a command.
        seeds: default of ``--seeds``. Defaults to None: the seeds of the study.
    """
    default = 'seeds of the study' if seeds is None else ' '.join(map(str, seeds))
    parser.add_argument(
        '--seeds', type=whole, nargs='+', default=seeds, help=f'seeds of the runs (default: {default})'
    )
    parser.add_argument('--domains', nargs='+', help='leave out only these domains (default: each in turn)')
    parser.add_argument('--jobs', type=positive, default=1, help='cells at a time (default: %(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgPairs,
        default=[],
        metavar='KEY=VALUE',
        help='options for all configs',
    )
