import html

from hypothesis import given
from hypothesis import strategies as st
from lfi.utils import markdown
from markdown_it import MarkdownIt


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


@given(st.text('ab \n`*_[]<>&|~#!\\()"\'', max_size=20))
def test_a_text_of_someone_else_marks_up_nothing(text):
    shown = MarkdownIt().renderInline(f'Classes: {markdown.plain(text)}.')
    assert html.unescape(shown) == f'Classes: {" ".join(text.split())}.'
