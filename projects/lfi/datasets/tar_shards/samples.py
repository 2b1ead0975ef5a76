"""Samples of a tar file: an image and the members of the same name, in the order of the tar."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.logging import print_log
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError
from lfi.utils.folders import OTHER_FORMATS
from lfi.utils.stores import local_path

SCHEME = 'tar'
"""Scheme of an image's address, `tar:///data/train-000.tar/0001.jpg`."""
BLOCK = 512
"""Size of a block of a tar file in bytes."""
BUFFER = 2**18
"""Bytes that are read at once."""
LABELS = ('cls', 'json', 'txt')
"""Suffixes of members that label an image."""
WRITE_PLAIN = 'write the tar without -S, and with --hard-dereference --dereference'
"""Advice for a tar whose members are not plain files."""
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

    webdataset splits the name of a member at its first dot. The image is the member with the suffix of an
    image alone: `0.depth.png` belongs to the sample of `0.jpg`.

    Args:
        tar: path of a tar file, or its address in a store, of which a local copy is made.

    Raises:
        UsageError: if webdataset is not installed; the file is missing, compressed, truncated or no tar; a
            sample has two images; labels have no image beside them; or two samples have one name.
    """
    reading = import_webdataset().tariterators
    place, keys = f'tar={tar}', set[str]()
    try:
        visible = (member for member in _members(tar) if _is_visible(member['fname']))
        for sample in reading.group_by_keys(visible):
            key = sample['__key__']
            place = f'{tar}, after its member {key}'
            if key in keys:
                raise UsageError(
                    f'{tar} has two samples {key}: members of one name must lie beside each other'
                )
            keys.add(key)
            members = {name: value for name, value in sample.items() if not name.startswith('__')}
            suffix = _image_suffix(tar, key, members)
            if suffix is not None:
                path = f'{SCHEME}://{tar.replace("://", "/")}/{key}.{suffix}'
                yield TarSample(tar, path, members[suffix], members)
    except (OSError, tarfile.TarError) as error:
        raise UsageError(f'{place}: the tar file cannot be read ({_first(error)})') from error
    except ValueError as error:
        # webdataset says so in its own words.
        if 'duplicate file name' not in str(error):
            raise
        name = str(error.args[0]).partition(': duplicate')[0]
        raise UsageError(f'{tar} has two members {name}: remove one') from error


def _is_visible(name: str) -> bool:
    """Whether a member is no file of a system, such as those that a Mac adds."""
    return not name.rpartition('/')[2].startswith('.') and not name.startswith('__MACOSX')


def _image_suffix(tar: str, key: str, members: Mapping[str, bytes]) -> str | None:
    """Return the suffix of a sample's image; None for members that are neither an image nor a label.

    Raises:
        UsageError: if there are two images, or members that need an image beside them.
    """
    images = [name for name in members if f'.{name}' in IMG_EXTENSIONS]
    if len(images) > 1:
        raise UsageError(f'{tar}: the sample {key} has two images, {" and ".join(images)}: rename one')
    if images:
        return images[0]
    lone = next((name for name in members if name in LABELS or f'.{name}'.endswith(IMG_EXTENSIONS)), None)
    if lone is not None:
        raise UsageError(
            f'{tar}: {key}.{lone} has no image, such as {key}.jpg, beside it: put it next to its image. The '
            'name of a sample ends at its first dot'
        )
    foreign = next((name for name in members if f'.{name}' in OTHER_FORMATS), None)
    if foreign is not None:
        _warn_of_format(foreign)
    return None


@cache
def _warn_of_format(suffix: str) -> None:
    """Log once that images of a format are left out."""
    print_log(
        f'images in tar files that end in .{suffix} are left out: only {", ".join(IMG_EXTENSIONS)} are read',
        'current',
        logging.WARNING,
    )


def _members(tar: str) -> Iterator[dict[str, Any]]:
    """Yield the members of a tar file in the form of webdataset, and check that the file is complete.

    webdataset's own reading is for streams. It is slower, and takes a file that ends early as complete.

    Raises:
        TarError: if the file is truncated or compressed, or another tar follows in it.
    """
    with open(local_path(tar), 'rb', buffering=BUFFER) as file:
        if file.read(BLOCK)[257:262] != b'ustar':
            raise tarfile.ReadError('it is no tar, or a compressed one: decompress it')
        file.seek(0)
        with tarfile.open(fileobj=file, mode='r:') as members:
            for member in members:
                # Else tarfile keeps all headers.
                members.members = []  # type: ignore[attr-defined]
                if member.islnk() or member.issym() or member.issparse():
                    raise tarfile.ReadError(f'{member.name} is a link or a sparse file: {WRITE_PLAIN}')
                if not member.isreg():
                    continue
                file.seek(member.offset_data)
                content = file.read(member.size)
                if len(content) < member.size:
                    raise tarfile.ReadError('it is truncated within this member')
                yield {'fname': member.name, 'data': content, '__url__': tar}
            end = members.offset
        file.seek(end)
        rest = file.read(2 * BLOCK)
        if len(rest) < BLOCK or any(rest):
            raise tarfile.ReadError('it is truncated: it has no end')
        while rest := file.read(BUFFER):
            if any(rest):
                raise tarfile.ReadError('another tar follows in the file: write one tar')


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
