"""The commands of `lfi` that the pages name."""

import re
import shlex
from pathlib import Path

import pytest
from lfi.cli.main import commands, parser_of

from tools.dev.write_commands import page

ROOT = Path(__file__).resolve().parents[2]
# Not the page of what was there once.
PAGES = [
    ROOT / 'README.md',
    *sorted({*(ROOT / 'docs').glob('*.md')} - {ROOT / 'docs/changelog.md'}),
    *sorted((ROOT / 'research').glob('*.md')),
]


def test_the_page_of_commands_is_what_the_parsers_have():
    assert (ROOT / 'docs/commands.md').read_text() == page(), 'run python -m tools.dev.write_commands'


def typed_lines(path):
    """The command lines `lfi ...` of a page, in blocks and in sentences."""
    text = path.read_text()
    blocks = '\n'.join(re.findall(r'^```(?:bash|console)\n(.*?)^```', text, re.S | re.M))
    lines = re.findall(r'^(?:\$ )?(?:[A-Z_]+=\S+ )*(lfi [a-z].*)', blocks.replace('\\\n', ' '), re.M)
    return lines + re.findall(r'(?<!`)`(lfi [a-z][^`\n]*)`', text)


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.name)
def test_commands_and_options_that_are_named_exist(path):
    for line in typed_lines(path):
        _, command, *words = shlex.split(line, comments=True)
        assert command in commands(), line
        parser = parser_of(command)
        if parser.variants:
            parser.add_chosen_variant(words)
        named = {word.partition('=')[0] for word in words if re.fullmatch(r'--[a-z][\w-]*(=.*)?', word)}
        assert named <= set(parser.options), line
