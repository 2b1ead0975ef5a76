from lfi.utils import markdown


def test_a_table_has_its_titles_a_rule_and_its_rows():
    assert markdown.table(['a', 'b'], [['1', '2'], ['3', '4']]).splitlines() == [
        '| a | b |',
        '| --- | --- |',
        '| 1 | 2 |',
        '| 3 | 4 |',
    ]


def test_a_table_without_rows_has_its_titles():
    assert markdown.table(['a'], []) == '| a |\n| --- |'


def test_no_cell_ends_before_its_end():
    assert markdown.table(['a'], [['one|two\nthree']]).splitlines()[-1] == r'| one\|two three |'
