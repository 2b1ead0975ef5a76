"""List the pretrained teachers of open_clip and the extractors that fit them.

lfi teachers --model 'ViT-B-16*'
lfi teachers --family siglip --parameters --markdown
lfi teachers --check

Each row is a tag with its extractors; 'auto' uses the first. Downloads nothing. --check builds each
architecture with random weights at its input size, transformers with two blocks only, and reads maps with
each extractor that fits and needs no gradients. It takes 20 minutes on a CPU core, and 5 GB of memory.
"""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path

from .arguments import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('--family', metavar='NAME', help='list families whose name contains NAME')
    parser.add_argument('--model', metavar='GLOB', help="list models that match, such as 'ViT-B-16*'")
    parser.add_argument('--parameters', action='store_true', help='count parameters of the image towers')
    parser.add_argument('--csv', metavar='FILE', help='also write the table to a CSV file')
    parser.add_argument('--markdown', action='store_true', help='print the table in Markdown')
    parser.add_argument('--check', action='store_true', help='build each architecture and read maps with it')
    parser.add_check(check_conflicts)


def check_conflicts(args: Namespace) -> str | None:
    """Return an error message if `--check` has an option of the table beside it, else None."""
    if args.check and (args.csv or args.markdown or args.parameters):
        return '--check writes no table: leave out --csv, --markdown and --parameters'
    return None


def run(args: Namespace) -> None:
    """Print the teachers, or check them."""
    from lfi.evaluation.teachers import open_clip_models
    from lfi.utils.folders import make_folder

    tags = open_clip_models.tags_by_model(args.family, args.model)
    if args.check:
        total = sum(map(len, tags.values()))
        passed = open_clip_models.check_all(tags)
        print(f'{passed} of {total} tags')
        sys.exit(passed < total)
    if args.csv:
        make_folder(Path(args.csv).parent, '--csv')
    columns, rows = open_clip_models.describe_all(tags, args.parameters)
    open_clip_models.print_table(rows, columns, args.markdown)
    if args.csv:
        with Path(args.csv).open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows((columns, *rows))
