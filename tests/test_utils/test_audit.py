"""Blocks in which a thread refuses what Python audits."""

import threading
from pathlib import Path

import pytest
from lfi.utils.audit import guarded, installed_folders, is_below


def _refusing(name):
    def guard(event, args):
        if event == 'open' and Path(args[0]).name == name:
            # What a guard reads itself is not asked about.
            Path(args[0]).read_text()
            raise PermissionError(f'{name} is refused')

    return guard


@pytest.fixture
def files(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_each_of_the_blocks_around_refuses(files):
    with guarded(_refusing('a')):
        with guarded(_refusing('b')):
            for name in ('a', 'b'):
                with pytest.raises(PermissionError, match=f'{name} is refused'):
                    (files / name).read_text()
        assert (files / 'b').read_text() == 'b'
        with pytest.raises(PermissionError, match='a is refused'):
            (files / 'a').read_text()
    assert (files / 'a').read_text() == 'a'


def test_other_threads_are_let_alone(files):
    found = []
    with guarded(_refusing('a')):
        thread = threading.Thread(target=lambda: found.append((files / 'a').read_text()))
        thread.start()
        thread.join()
    assert found == ['a']


def test_a_link_lies_where_it_leads(files):
    folder = installed_folders()
    assert is_below(pytest.__file__, folder) and is_below(pytest.__file__.encode(), folder)
    (files / 'link').symlink_to(pytest.__file__)
    assert is_below(files / 'link', folder)
    assert not is_below(files / 'a', folder) and not is_below(3, folder)
