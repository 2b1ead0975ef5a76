"""Training runs beside one another: single ones, or a method and its baseline over seeds."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

from lfi.studies.convergence import compare_pairs
from lfi.studies.convergence_figure import draw_convergence
from lfi.studies.run_report import draw_report
from lfi.studies.runs import epoch_table, markdown_table, read_run


def compare_single(args: Namespace) -> None:
    """Each run with the first."""
    work_dirs = [Path(work_dir) for work_dir in args.work_dirs]
    names = args.names or [None] * len(work_dirs)
    for metric in args.metrics:
        runs = [read_run(work_dir, name, metric) for work_dir, name in zip(work_dirs, names)]
        print(markdown_table(runs))
        if args.epochs:
            for run in runs:
                print(f'\n{run.name}\n\n{epoch_table(run)}')
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        draw_report(runs, work_dirs, args.images).savefig(args.out, dpi=110)


def compare_seeds(args: Namespace) -> None:
    """The method with its baseline, pair by pair."""
    found = {
        metric: [
            [read_run(folder, metric=metric) for folder in folders]
            for folders in (args.baseline, args.method, args.short)
        ]
        for metric in args.metrics
    }
    triples = [(baseline, method, short) for baseline, method, short in found.values()]
    print(compare_pairs(triples, args.teacher_seconds))
    if args.out:
        baseline, method, _ = found[args.metrics[0]]
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        draw_convergence(baseline, method, args.teacher_seconds).savefig(args.out, dpi=110)


def main(args: Namespace) -> None:
    """Run the tool."""
    (compare_single if args.work_dirs else compare_seeds)(args)
    if args.out:
        print(f'\nThe picture is {args.out}')
