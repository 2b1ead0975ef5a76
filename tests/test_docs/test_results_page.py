"""What docs/results.md says of its tables, beside the tables themselves."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / 'docs/results.md').read_text()
GENERATED = re.compile(r'<!-- reproduce: (\S+) -->\n.*?<!-- end of \1 -->', re.S)


def test_the_scope_of_the_intervals_is_said_once_before_all_tables():
    before, after = PAGE.split('| --- |', 1)
    scope = ('one training set and one test set', 'none is corrected for the number of comparisons')
    for words in scope:
        assert words in before
    assert 'corrected' not in after


def test_no_conclusion_rests_on_seconds_that_cannot_be_compared():
    studies = PAGE[PAGE.index('\n## Shapes') : PAGE.index('\n## Trial runs')]
    assert 'second' not in GENERATED.sub('', studies)
