"""Samples of a tar file: an image and the members of the same name, in the order of the tar."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmengine.fileio import BaseStorageBackend, register_backend
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError

SCHEME = 'tar'
"""Scheme of an image's address, `tar:///data/train-000.tar/0001.jpg`."""
BLOCK = 512
"""Size of a block of a tar file in bytes."""
_open_members: dict[str, bytes] = {}


class TarSample(NamedTuple):
    """Sample of a tar file.

    Args:
        tar: path or address of the tar file.
        path: address of the image, which pipelines load while `opened` holds the sample.
        image: content of the image's file.
        members: content of each member of the sample, by its suffix without the first dot.
    """

    tar: str
    path: str
    image: bytes
    members: Mapping[str, bytes]


def read_samples(tar: str) -> Iterator[TarSample]:
    """Read the samples of a tar file that have an image, in the order of the tar.

    Args:
        tar: path of a tar file, or an address that webdataset opens.

    Raises:
        UsageError: if webdataset is not installed, the file is missing, no tar or truncated, or two members
            have one name.
    """
    webdataset = import_webdataset()
    place = f'tar={tar}'
    try:
        _check_end(tar)
        for sample in webdataset.tariterators.tarfile_samples([{'url': tar}]):
            members = {name: value for name, value in sample.items() if not name.startswith('__')}
            suffix = next((name for name in members if f'.{name}'.endswith(IMG_EXTENSIONS)), None)
            place = f'{tar}, after its member {sample["__key__"]}'
            if suffix is not None:
                path = f'{SCHEME}://{tar.replace("://", "/")}/{sample["__key__"]}.{suffix}'
                yield TarSample(tar, path, members[suffix], members)
    except (OSError, tarfile.TarError) as error:
        raise UsageError(f'{place}: the tar file cannot be read ({_first(error)})') from error
    except ValueError as error:
        # webdataset says so in its own words.
        if 'duplicate file name' not in str(error):
            raise
        name = str(error.args[0]).partition(': duplicate')[0]
        raise UsageError(f'{tar} has two members {name}: remove one') from error


def _check_end(tar: str) -> None:
    """Check that a local tar file ends with a block of zeros: tarfile takes one that ends early as complete.

    Raises:
        TarError: if it does not.
    """
    if '://' in tar or tar.startswith('pipe:'):
        return
    with open(tar, 'rb') as file:
        is_plain = file.read(BLOCK)[257:262] == b'ustar'
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - BLOCK))
        if is_plain and (size % BLOCK or any(file.read())):
            raise tarfile.ReadError('it is truncated: it has no end')


def _first(error: Exception) -> str:
    """Return the message of an error, without the arguments that webdataset adds."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error.args[0])


def import_webdataset() -> Any:
    """Import webdataset.

    Raises:
        UsageError: if it is not installed.
    """
    try:
        import webdataset
    except ImportError as error:
        raise UsageError(
            "tar shards are read by webdataset, which is not installed: pip install 'lfi[shards]'"
        ) from error
    return webdataset


@contextmanager
def opened(sample: TarSample) -> Iterator[None]:
    """Hold a sample open, so that the loaders of a pipeline read its image from its address."""
    _open_members[sample.path] = sample.image
    try:
        yield
    finally:
        _open_members.pop(sample.path, None)


def shard_name(tar: str) -> str:
    """Return the name of a tar file, without its folders."""
    return PurePosixPath(tar).name


class TarMemberBackend(BaseStorageBackend):
    """Storage backend of MMEngine for the images of samples that `opened` holds."""

    def get(self, filepath: str) -> bytes:
        """Return the content of an image.

        Raises:
            FileNotFoundError: if no sample with this image is open.
        """
        try:
            return _open_members[str(filepath)]
        except KeyError:
            raise FileNotFoundError(f'{filepath}: an image in a tar file is read by lfi.WebDataset') from None

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Return the content of a member as text."""
        return self.get(filepath).decode(encoding)


register_backend(SCHEME, TarMemberBackend, prefixes=SCHEME, force=True)
