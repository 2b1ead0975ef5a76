"""Folders of files in object stores, which are written and read as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp

from lfi.errors import UsageError

from .stores import is_address, join, list_files, local_copies, public_address, write_file


def is_stored_folder(source: object) -> bool:
    """Whether a source is the address of a folder in a store that fsspec knows, such as `s3://bucket/student`.

    MMEngine's own addresses, such as `torchvision://resnet50`, and those of checkpoints and configs are not.
    """
    if not is_address(source) or str(source).endswith(('.pth', '.pt', '.py')):
        return False
    from fsspec.registry import known_implementations

    return str(source).partition('://')[0] in known_implementations


def write_folder(folder: Path, address: str, last: str) -> None:
    """Write the files of a local folder into a store. A reader finds `last` when all others are there.

    Args:
        folder: local folder.
        address: address of a folder without files.
        last: name of the file that is written last.

    Raises:
        UsageError: if there are files at the address.
        StoreError: if the store cannot be read or written.
    """
    if existing := sorted(list_files(address)):
        raise UsageError(
            f'{public_address(address)} has files already, such as {existing[0]}: choose another folder, or '
            'remove them'
        )
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    for path in sorted(files, key=lambda path: path == folder / last):
        write_file(join(address, path.relative_to(folder).as_posix()), path.read_bytes())


def read_folder(address: str, names: Sequence[str]) -> Path:
    """Return a local folder with copies of the files of a folder in a store.

    The folder lies beside the copies of objects (`LFI_COPIES`). It stays until it is removed.

    Args:
        address: address of the folder.
        names: names of the files that are copied if they are there.

    Raises:
        StoreError: if the store cannot be read.
    """
    copies, files = local_copies(), dict[str, Path]()
    for name in names:
        with suppress(FileNotFoundError):
            files[name] = copies.get(join(address, name))
    # The folder of a copy stands for the content of the object.
    identity = repr([(name, copy.parent.name) for name, copy in files.items()])
    digest = blake2b(f'{address}{identity}'.encode(), digest_size=12).hexdigest()
    folder = copies.folder.parent / 'lfi_students' / digest
    if files and not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(dir=folder.parent))
        for name, copy in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy, temporary / name)
        # Another process may have made it meanwhile.
        with suppress(OSError):
            os.rename(temporary, folder)
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
