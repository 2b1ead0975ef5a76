"""Digests of files."""

from hashlib import sha256

import lfi.digests
from lfi.digests import hash_files


def test_it_is_that_of_the_contents_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(lfi.digests, 'CHUNK', 3)
    contents = (b'abcdefgh', b'', b'ij')
    paths = [tmp_path / str(i) for i in range(3)]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    assert hash_files(sha256(b'begun'), *paths).digest() == sha256(b'begunabcdefghij').digest()
