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
    named = re.findall(r'^lfi ([a-z][\w-]*)|`lfi ([a-z][\w-]*)', page.read_text(), re.M)
    assert {first or second for first, second in named} <= set(commands())
