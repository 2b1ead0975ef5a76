"""Comparison of training runs: single runs, or a method and its baseline over seeds."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import matplotlib
from lfi.errors import UsageError
from lfi.utils.matplotlib_settings import save_figure
from lfi.visualization.fonts import set_fonts
from matplotlib.figure import Figure

from research.studies.convergence import compare_pairs
from research.studies.convergence_figure import draw_convergence
from research.studies.html_page import html_page
from research.studies.localization_table import Localization, localization_report, localization_values
from research.studies.run_report import draw_report, next_steps
from research.studies.runs import epoch_table, markdown_table, read_run

PAGES = ('.html', '.htm')


def compare_single(args: Namespace) -> None:
    """Compare each run with the first."""
    work_dirs = [Path(work_dir) for work_dir in args.work_dirs]
    names = args.names or [None] * len(work_dirs)
    tables = []
    by_metric = [
        [read_run(work_dir, name, metric) for work_dir, name in zip(work_dirs, names)]
        for metric in args.metrics
    ]
    for runs in by_metric:
        tables.append(markdown_table(runs))
        if args.epochs:
            tables += [f'{run.name}\n\n{epoch_table(run)}' for run in runs]
    # The figure shows the first metric.
    runs = by_metric[0]
    if args.where:
        last = runs[-1].name
        cell = Localization(0, read_localization(Path(args.where)))
        tables.append(localization_report({last: [cell]}, last))
    print('\n\n'.join(tables))
    if args.out:
        figure = draw_report(runs, work_dirs, args.images)
        title = ' and '.join(run.name for run in runs)
        write(args.out, figure, lambda: html_page(title, [*tables, figure, next_steps(work_dirs)]))


def read_localization(file: Path) -> dict[str, float]:
    """Read the localization metrics from a JSON file of test metrics.

    Raises:
        UsageError: if the file is not JSON or has no localization metric.
    """
    try:
        metrics = json.loads(file.read_bytes())
    except ValueError as error:
        raise UsageError(f'--where {file} is not JSON: {error}') from error
    if not isinstance(metrics, dict) or not (values := localization_values(metrics)):
        raise UsageError(f'--where {file} has no localization metrics: test with configs/evaluation/')
    return values


def compare_seeds(args: Namespace) -> None:
    """Compare the method with its baseline, pair by pair."""
    runs = {
        metric: [
            [read_run(folder, metric=metric) for folder in folders]
            for folders in (args.baseline, args.method, args.short)
        ]
        for metric in args.metrics
    }
    triples = [(baseline, method, short) for baseline, method, short in runs.values()]
    table = compare_pairs(triples, args.teacher_seconds)
    print(table)
    if args.out:
        baseline, method, _ = runs[args.metrics[0]]
        figure = draw_convergence(baseline, method, args.teacher_seconds)
        write(args.out, figure, lambda: html_page('The method and its baseline', [table, figure]))


def write(files: list[str], figure: Figure, page: Callable[[], str]) -> None:
    """Write the page to the files named `.html`, and the figure to the others."""
    set_fonts(figure)
    for path in map(Path, files):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in PAGES:
            path.write_text(page(), encoding='utf-8')
        else:
            save_figure(figure, path, dpi=110)


def main(args: Namespace) -> None:
    """Run the comparison."""
    matplotlib.use('Agg')
    (compare_single if args.work_dirs else compare_seeds)(args)
    for file in args.out:
        print(f'\nWritten: {file}')
