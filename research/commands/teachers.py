"""Measure how well the teachers of the studies point, and draw it beside chance.

    LFI_DATA_ROOT=... LFI_TEACHER_ROOT=... python -m research teachers   # four minutes on two cores
    python -m research teachers --draw                                   # draws the CSV file again

`lfi eval-teacher` measures each teacher on validation images.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lfi.cli.arguments import ArgumentParser
from lfi.cli.running import run_tool
from lfi.errors import UsageError
from lfi.utils.matplotlib_settings import save_figure

from ..studies.csv_file import write_csv
from ..studies.published import FOLDER

COLUMNS = ('data', 'teacher', 'images', 'regions', 'map', 'pointing', 'error')
PHOTOS = 'configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py'
SMALLER, SIZE = ('--images', '1000', '--area', '0', '0.5'), '--cfg-options'
RUNS = {
    ('COCO, 448 px', 'lit-lite0'): ('configs/teachers/lit-lite0_coco.py', '--area', '0.02', '1'),
    ('Tiny-ImageNet, 320 px', 'lit-lite0'): (PHOTOS, *SMALLER, SIZE, 'model.teacher.input_size=320'),
    ('Tiny-ImageNet, 160 px', 'lit-lite0'): (PHOTOS, *SMALLER),
    ('Shapes, 64 px', 'shapes-tiny'): ('configs/classification/lfi_vit-128x6-p8_shapes.py',),
}
"""Arguments of `lfi eval-teacher`, by data and teacher. The tables of research/teachers.md have the same."""


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--csv', type=Path, default=FOLDER / 'teachers.csv', help='(%(default)s)')
    parser.add_argument(
        '--figure', type=Path, default=Path('docs/images/teachers-light.png'), help='(%(default)s)'
    )
    parser.add_argument('--draw', action='store_true', help='measure nothing, and draw the file')
    return parser.parse_args()


def main(args: Namespace) -> None:
    """Run the command with its arguments."""
    if not args.draw:
        rows = [row for (data, teacher), words in RUNS.items() for row in measure(data, teacher, words)]
        write_csv([COLUMNS, *rows], args.csv)
    if not args.csv.is_file():
        raise UsageError(f'--csv {args.csv} is not there: leave out --draw to write it')
    import matplotlib

    matplotlib.use('Agg')
    from ..studies.teachers_figure import draw_teachers

    with args.csv.open(newline='') as lines:
        figure = draw_teachers(list(csv.DictReader(lines)))
    args.figure.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, args.figure, dpi=110)


def measure(data: str, teacher: str, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a teacher's maps and of chance."""
    with TemporaryDirectory() as out:
        command = [sys.executable, '-m', 'lfi', 'eval-teacher', *words, '--pictures', '0', '--out', out]
        subprocess.run(command, check=True)
        results = json.loads(Path(out, 'results.json').read_text())
    yield from rows_of(data, teacher, results)


def rows_of(data: str, teacher: str, results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the results of `lfi eval-teacher`: pointing and its standard error, in per cent."""
    (extractor,) = results['extractors'].values()
    counts = (str(results['images']), str(results['regions']))
    for name, metrics in {**extractor['maps'], **results['chance']}.items():
        yield (data, teacher, *counts, name, *(f'{100 * value:.2f}' for value in metrics['pointing']))


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args(), subprocess.CalledProcessError)
