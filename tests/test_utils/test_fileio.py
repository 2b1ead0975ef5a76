"""Files that are written, and digests of files."""

import fcntl
import multiprocessing
from hashlib import sha256
from pathlib import Path

import lfi.utils.fileio
import numpy as np
import pytest
from lfi.utils.fileio import NUM_PIECES, PIECE, AtomicLocalBackend, file_digest, hash_files


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


@pytest.mark.parametrize('size', [1, PIECE, PIECE + 1, 3 * PIECE - 5, NUM_PIECES * PIECE])
def test_each_byte_of_a_small_file_counts(tmp_path, size):
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    path = tmp_path / 'file'
    path.write_bytes(content.tobytes())
    digest = file_digest(path)
    assert 0 < digest < 2**32
    for position in {0, size // 3, size // 2, size - 1, *range(0, size, 997)}:
        changed = content.copy()
        changed[position] ^= 1
        path.write_bytes(changed.tobytes())
        assert file_digest(path) != digest


def test_a_large_file_is_known_by_its_size_and_by_pieces_of_it(tmp_path):
    content = bytearray(40 * NUM_PIECES * PIECE)
    digests = set()
    for position in (None, 0, len(content) - 1):
        changed = bytearray(content)
        if position is not None:
            changed[position] = 1
        (tmp_path / 'file').write_bytes(changed)
        digests.add(file_digest(tmp_path / 'file'))
    (tmp_path / 'file').write_bytes(content + b'\0')
    digests.add(file_digest(tmp_path / 'file'))
    assert len(digests) >= 4


def test_what_is_no_file_has_no_digest(tmp_path):
    assert file_digest(tmp_path) == file_digest('s3://bucket/a.jpg') == file_digest('\0') == 0
