"""The commands of `lfi` that the pages name."""

import re
from pathlib import Path

import pytest
from lfi.command.table import GROUPS, SCRIPTS, about, commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_the_table_has_a_row_for_each_command_as_its_help_says():
    page = (ROOT / 'docs/get_started.md').read_text()
    rows = re.findall(r'^\| `lfi ([\w-]+)` \| (?:`tools/(\S+)` )?\| (.*) \|$', page, re.M)
    names = [name for group in GROUPS.values() for name in group]
    assert rows == [(name, SCRIPTS.get(name, ''), about(name)) for name in names]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_that_are_named_exist(page):
    text = page.read_text()
    typed = '\n'.join(re.findall(r'^```\w+\n(.*?)^```', text, re.S | re.M))
    named = re.findall(r'^lfi ([a-z][\w-]*)', typed, re.M) + re.findall(r'`lfi ([a-z][\w-]*)', text)
    assert set(named) <= set(commands())
