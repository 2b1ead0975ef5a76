"""Where the numbers of a study are published."""

import pytest

from research.studies.published import begin_mark, end_mark, put_section

BEGIN, END = begin_mark('a'), end_mark('a')


def test_a_section_replaces_what_stands_between_its_marks(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{BEGIN}\nstale\n{END}\nafter\n')
    assert put_section(page, 'a', 'text')
    assert page.read_text() == f'before\n{BEGIN}\n\ntext\n\n{END}\nafter\n'


@pytest.mark.parametrize('text', ['', f'{BEGIN}\n', END, f'{END}\n{BEGIN}\n'])
def test_a_page_without_the_marks_is_left_alone(text, tmp_path):
    page = tmp_path / 'page.md'
    assert not put_section(page, 'a', 'text') and not page.exists()
    page.write_text(text)
    assert not put_section(page, 'a', 'text')
    assert page.read_text() == text
