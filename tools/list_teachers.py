"""List the teachers that open_clip has weights of, and check that they can be read.

python tools/list_teachers.py --model 'ViT-B-16*'
python tools/list_teachers.py --family siglip --parameters --markdown
python tools/list_teachers.py --check

A row is a tag. Its extractors are those that fit; 'auto' takes the first. Nothing is fetched. --check builds
each architecture with random weights at its own input size, and reads maps with every extractor that fits and
needs no gradients; transformers are cut to two blocks. It takes 20 minutes of a CPU core, and 5 GB.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--family', metavar='NAME', help='only families whose name has this in it')
    parser.add_argument('--model', metavar='GLOB', help="only models of this name, such as 'ViT-B-16*'")
    parser.add_argument('--parameters', action='store_true', help="count the image towers' parameters")
    parser.add_argument('--csv', metavar='FILE', help='write the rows to a file as well')
    parser.add_argument('--markdown', action='store_true', help='print a table of Markdown')
    parser.add_argument('--check', action='store_true', help='build each architecture and read maps with it')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'list_teachers')
