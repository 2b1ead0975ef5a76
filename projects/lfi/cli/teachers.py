"""List the teachers that open_clip has weights of, and check that they can be read.

lfi teachers --model 'ViT-B-16*'
lfi teachers --family siglip --parameters --markdown
lfi teachers --check

A row is a tag. Its extractors are those that fit; 'auto' takes the first. Nothing is fetched. --check builds
each architecture with random weights at its own input size, and reads maps with every extractor that fits and
needs no gradients; transformers are cut to two blocks. It takes 20 minutes of a CPU core, and 5 GB.
"""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path

from .arguments import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('--family', metavar='NAME', help='only families whose name has this in it')
    parser.add_argument('--model', metavar='GLOB', help="only models of this name, such as 'ViT-B-16*'")
    parser.add_argument('--parameters', action='store_true', help="count the image towers' parameters")
    parser.add_argument('--csv', metavar='FILE', help='write the rows to a file as well')
    parser.add_argument('--markdown', action='store_true', help='print a table of Markdown')
    parser.add_argument('--check', action='store_true', help='build each architecture and read maps with it')
    parser.add_check(tables_of_a_check)


def tables_of_a_check(args: Namespace) -> str | None:
    """The message for a table that is asked for beside `--check`."""
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
