"""What the results pages say of their tables, beside the tables themselves."""

import csv
import re
from pathlib import Path

from research.studies.arms import ARMS
from research.studies.overview import SECTION
from research.studies.presets import FEW, PRESETS
from research.studies.side_by_side import STUDENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'research/results.md').read_text()


def test_each_section_is_of_a_study():
    studies = set(re.findall('<!-- reproduce: (.*?) -->', PAGE)) - {'arms', SECTION, STUDENTS}
    assert studies <= {*PRESETS, *FEW}


def test_each_arm_that_is_published_is_explained():
    table = PAGE[PAGE.index('<!-- reproduce: arms -->') : PAGE.index('<!-- end of arms -->')]
    published = {
        row['arm'].split()[0]
        for file in (ROOT / 'research/published').glob('*.csv')
        for row in csv.DictReader(file.open(newline=''))
        if 'arm' in row
    }
    for arm in published:
        assert f'| `{arm}` | {ARMS[arm].kind} | {ARMS[arm].about} |' in table


def presence_rows():
    with (ROOT / 'research/published/presence.csv').open(newline='') as file:
        return list(csv.reader(file))


def test_presence_is_that_of_its_file():
    rows = presence_rows()
    assert len(rows) > 8
    for row in rows:
        assert f'| {" | ".join(row)} |' in PAGE


def test_the_short_table_has_numbers_of_the_file():
    page = (ROOT / 'docs/results.md').read_text()
    short = page[page.index('## What presence means') :]
    numbers = re.findall(r'0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)', short)
    assert len(numbers) >= 8 and set(numbers) <= {cell for row in presence_rows() for cell in row}


def test_numbers_of_pointing_are_those_of_the_tables():
    page = (ROOT / 'docs/results.md').read_text()
    numbers = re.findall(r'\d\d\.\d ± \d\.\d', page)
    assert numbers and all(f'| {number} |' in PAGE for number in numbers)
