"""Digests of files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar


class Hash(Protocol):
    """Of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Go on with more of the content."""


HashT = TypeVar('HashT', bound=Hash)
CHUNK = 1 << 22


def hash_files(digest: HashT, *paths: Path) -> HashT:
    """A hash after the contents of files, which are read in parts: they may be larger than the memory.

    Args:
        digest: of `hashlib`.
        *paths: of the files, in their order.
    """
    for path in paths:
        with path.open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest
