"""The commands of `lfi` that the pages name."""

import re
import shlex
from pathlib import Path

import pytest
from lfi.cli.main import GROUPS, commands, parser_of, summary

ROOT = Path(__file__).resolve().parents[2]
# Not the page of what was there once.
PAGES = [
    ROOT / 'README.md',
    *sorted({*(ROOT / 'docs').glob('*.md')} - {ROOT / 'docs/changelog.md'}),
    *sorted((ROOT / 'research').glob('*.md')),
]


def test_the_table_has_a_row_for_each_command_as_its_help_says():
    page = (ROOT / 'docs/get_started.md').read_text()
    rows = re.findall(r'^\| `lfi ([\w-]+)` \| (.*) \|$', page, re.M)
    names = [name for group in GROUPS.values() for name in group]
    assert rows == [(name, summary(name)) for name in names]


def typed_lines(page):
    """The command lines `lfi ...` of a page, in blocks and in sentences."""
    text = page.read_text()
    blocks = '\n'.join(re.findall(r'^```(?:bash|console)\n(.*?)^```', text, re.S | re.M))
    lines = re.findall(r'^(?:\$ )?(?:[A-Z_]+=\S+ )*(lfi [a-z].*)', blocks.replace('\\\n', ' '), re.M)
    return lines + re.findall(r'(?<!`)`(lfi [a-z][^`\n]*)`', text)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_are_named_exist(page):
    for line in typed_lines(page):
        _, command, *words = shlex.split(line, comments=True)
        assert command in commands(), line
        parser = parser_of(command)
        if parser.variants:
            parser.add_chosen_variant(words)
        named = {word.partition('=')[0] for word in words if re.fullmatch(r'--[a-z][\w-]*(=.*)?', word)}
        assert named <= set(parser.options), line
