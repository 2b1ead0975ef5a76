"""Files that are written, and digests of files."""

import fcntl
import multiprocessing
from hashlib import sha256
from pathlib import Path

import lfi.utils.fileio
import pytest
from lfi.utils.fileio import DIGESTED, AtomicLocalBackend, file_digest, hash_files


def write_often(file, letter):
    for size in range(1, 200):
        AtomicLocalBackend().put(letter * 1000 * size, file)


def test_processes_that_write_one_file_leave_a_whole_one_of_theirs(tmp_path):
    file = tmp_path / 'file'
    fork = multiprocessing.get_context('fork')
    writers = [fork.Process(target=write_often, args=(file, letter)) for letter in (b'a', b'b', b'c')]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        if file.exists():
            content = file.read_bytes()
            assert content == content[:1] * len(content) and len(content) % 1000 == 0
            seen += 1
    assert seen and [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_writer_left_serves_the_next_one(tmp_path):
    (tmp_path / '.file.partial').write_bytes(b'longer than what comes')
    AtomicLocalBackend().put(b'new', tmp_path / 'file')
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'new']


def test_what_another_process_writes_is_left_to_it(tmp_path):
    with (tmp_path / '.file.partial').open('wb') as other:
        other.write(b'half of')
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        AtomicLocalBackend().put(b'new', tmp_path / 'file')
    assert (tmp_path / 'file').read_bytes() == b'new'
    assert (tmp_path / '.file.partial').read_bytes() == b'half of'
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('link', [Path.symlink_to, Path.hardlink_to])
def test_a_planted_link_leads_to_no_file_of_others(tmp_path, link):
    (tmp_path / 'mine').write_text('mine')
    folder = tmp_path / 'folder'
    folder.mkdir()
    link(folder / '.file.partial', tmp_path / 'mine')
    AtomicLocalBackend().put(b'new', folder / 'file')
    assert (tmp_path / 'mine').read_text() == 'mine' and (folder / 'file').read_bytes() == b'new'


def test_it_is_that_of_the_contents_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(lfi.utils.fileio, 'CHUNK', 3)
    contents = (b'abcdefgh', b'', b'ij')
    paths = [tmp_path / str(i) for i in range(3)]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    assert hash_files(sha256(b'begun'), *paths).digest() == sha256(b'begunabcdefghij').digest()


def test_a_file_is_told_from_others_by_its_size_and_its_middle(tmp_path):
    middle = bytes(range(256)) * (DIGESTED // 256)
    contents = [
        b'',
        b'a',
        middle,
        middle[::-1],
        b'-' * 99 + middle + b'-' * 99,
        b'-' * 100 + middle + b'-' * 100,
    ]
    digests = []
    for i, content in enumerate(contents):
        (tmp_path / str(i)).write_bytes(content)
        digests.append(file_digest(tmp_path / str(i)))
        (tmp_path / 'copy').write_bytes(content)
        assert file_digest(tmp_path / 'copy') == digests[-1] > 0
    assert len(set(digests)) == len(contents)
    assert file_digest(tmp_path) == file_digest('s3://bucket/a.jpg') == file_digest('\0') == 0
