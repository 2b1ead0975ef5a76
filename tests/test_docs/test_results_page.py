"""What docs/results.md says of its tables, beside the tables themselves."""

import csv
import re
from pathlib import Path

import pytest

from research.studies.arms import ARMS
from research.studies.overview import SECTION, SHORT
from research.studies.presets import FEW, PRESETS
from research.studies.side_by_side import STUDENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/results.md').read_text()


@pytest.mark.parametrize('page', [PAGE, (ROOT / 'README.md').read_text()], ids=['results', 'README'])
def test_each_section_is_of_a_study(page):
    studies = set(re.findall('<!-- reproduce: (.*?) -->', page)) - {'arms', SECTION, SHORT, STUDENTS}
    assert studies <= {*PRESETS, *FEW}


def test_each_arm_that_is_published_is_explained():
    table = PAGE[PAGE.index('<!-- reproduce: arms -->') : PAGE.index('<!-- end of arms -->')]
    published = {
        arm.split()[0]
        for file in (ROOT / 'research/published').glob('*.csv')
        for arm, *_ in csv.reader(file.open(newline=''))
    } - {'arm'}
    for arm in published:
        assert f'| `{arm}` | {ARMS[arm].kind} | {ARMS[arm].about} |' in table
