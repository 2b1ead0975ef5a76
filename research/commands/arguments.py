"""The arguments that the studies' commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from lfi.cli.arguments import CfgOptions, positive, whole


class CfgPairs(CfgOptions):
    """``--cfg-options`` that are checked, and stay pairs as they were typed, for other command lines."""

    def keep(self, namespace: argparse.Namespace, found: dict[str, Any], typed: Sequence[str]) -> None:
        """Add the pairs."""
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *typed])


def add_study_arguments(parser: argparse.ArgumentParser, seeds: Sequence[int] | None = None) -> None:
    """Add which cells of a study are run, and how.

    Args:
        parser: gets ``--seeds``, ``--domains``, ``--jobs`` and ``--cfg-options``.
        seeds: of the runs, unless others are given. Defaults to the study's own, which are None.
    """
    default = "the study's own" if seeds is None else ' '.join(map(str, seeds))
    parser.add_argument(
        '--seeds', type=whole, nargs='+', default=seeds, help=f'of the runs (default: {default})'
    )
    parser.add_argument('--domains', nargs='+', help='leave out only these (default: each that is there)')
    parser.add_argument('--jobs', type=positive, default=1, help='cells at a time (default: %(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgPairs,
        default=[],
        metavar='KEY=VALUE',
        help='change all configs alike',
    )
