"""A log of labels that is cut off, goes on, or is of something else."""

import errno
import os
import re
from pathlib import Path

import pytest
from lfi.errors import UsageError
from lfi.pseudo_labels import LabelLog

SETTINGS = dict(concepts=['cat', 'Größe\u2028'], mask_threshold=0.3)
FIRST, SECOND = [dict(file='a b.png', n=1), dict(file='ü\u2028.png', n=2)], [dict(file='c.png', error='gone')]


def written(path, *batches):
    log = LabelLog(path, SETTINGS)
    for batch in batches:
        log.add(batch)
    log.close()


def test_what_was_added_is_there_again(tmp_path):
    path = tmp_path / 'new/folder/log.jsonl'
    written(path, FIRST, SECOND)
    log = LabelLog(path, SETTINGS)
    assert [log[record['file']] for record in FIRST + SECOND] == FIRST + SECOND
    assert 'a b.png' in log and 'd.png' not in log


def test_at_whatever_byte_it_is_cut_off_it_goes_on(tmp_path):
    path = tmp_path / 'log.jsonl'
    written(path, FIRST, SECOND)
    complete = path.read_bytes()
    for end in range(len(complete)):
        path.write_bytes(complete[:end])
        log = LabelLog(path, SETTINGS)
        for batch in (FIRST, SECOND):
            known = {record['file'] in log for record in batch}
            assert len(known) == 1, 'a batch is there as a whole, or not at all'
            if known == {False}:
                log.add(batch)
        log.close()
        assert path.read_bytes() == complete


def test_two_runs_do_not_write_one_log(tmp_path):
    path = tmp_path / 'log.jsonl'
    first = LabelLog(path, SETTINGS)
    first.add(FIRST)
    with pytest.raises(UsageError, match='log.jsonl is being written by another run: wait, or choose'):
        LabelLog(path, SETTINGS)
    first.add(SECOND)
    first.close()
    again = LabelLog(path, SETTINGS)
    assert all(record['file'] in again for record in FIRST + SECOND)


@pytest.mark.parametrize('plant', [Path.symlink_to, Path.hardlink_to, lambda path, _: os.mkfifo(path)])
def test_a_planted_link_leads_to_no_file_of_others(tmp_path, plant):
    (tmp_path / 'mine').touch()
    plant(tmp_path / 'log.jsonl', tmp_path / 'mine')
    with pytest.raises(UsageError, match='log.jsonl is a link, or not a regular file: remove it'):
        LabelLog(tmp_path / 'log.jsonl', SETTINGS)
    assert (tmp_path / 'mine').read_bytes() == b''


def test_a_log_of_other_settings_is_refused(tmp_path):
    path = tmp_path / 'log.jsonl'
    written(path, FIRST)
    before = path.read_bytes()
    message = f'{path} was written with mask_threshold=0.3, and not 0.5: choose another folder, or remove it'
    with pytest.raises(UsageError, match=re.escape(message)):
        LabelLog(path, {**SETTINGS, 'mask_threshold': 0.5})
    with pytest.raises(UsageError, match='written with min_area=None, and not 0.1'):
        LabelLog(path, {**SETTINGS, 'min_area': 0.1})
    assert path.read_bytes() == before


@pytest.mark.parametrize('content', ['a note', 'some text\n', '3\n', '{"concepts": []}\n[4]\n', '\xff\n'])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / 'log.jsonl'
    path.write_bytes(content.encode('latin1'))
    with pytest.raises(UsageError, match='holds no labels: remove it'):
        LabelLog(path, SETTINGS)
    assert path.read_bytes() == content.encode('latin1')


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(UsageError, match='log.jsonl cannot be written: Not a directory'):
        LabelLog(tmp_path / 'file/folder/log.jsonl', SETTINGS)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(Path, 'open', refuse)
    with pytest.raises(UsageError, match='log.jsonl cannot be written: Read-only file system'):
        LabelLog(tmp_path / 'log.jsonl', SETTINGS)


def test_a_full_disk_is_named_and_keeps_what_is_there(tmp_path, monkeypatch):
    path = tmp_path / 'log.jsonl'
    log = LabelLog(path, SETTINGS)
    log.add(FIRST)

    def refuse(line):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(log, '_write', refuse)
        with pytest.raises(UsageError, match='No space left on device. The labels so far are kept'):
            log.add(SECOND)
    log.close()
    assert 'a b.png' in LabelLog(path, SETTINGS)
