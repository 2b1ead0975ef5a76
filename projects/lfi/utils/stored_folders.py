"""Folders of files in object stores, which are written and read as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from uuid import uuid4

from lfi.errors import UsageError

from .stores import is_address, join, list_files, local_copies, public_address, write_file

FILES = ('.pth', '.pt', '.ckpt', '.safetensors', '.py')
"""Ends of addresses of checkpoints and configs, which are no folders."""


def is_stored_folder(source: object) -> bool:
    """Whether a source is the address of a folder in a store that fsspec knows, such as `s3://bucket/student`.

    MMEngine's own addresses, such as `torchvision://resnet50`, and those of checkpoints and configs are not.
    """
    path = public_address(str(source))
    if not is_address(source) or path.endswith(FILES):
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
        UsageError: if there are files at the address, or it would be read as that of a file.
        StoreError: if the store cannot be read or written.
    """
    if not is_stored_folder(address):
        raise UsageError(
            f'{public_address(address)} would be read as a checkpoint, or is of a store that fsspec does not '
            f'know: name a folder, which does not end with {", ".join(FILES)}'
        )
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
    folders = dict.fromkeys(PurePosixPath(name).parent.as_posix() for name in names)
    # A listing of each folder in place of a request for each name that is not there.
    listed = {parent: list_files(address if parent == '.' else join(address, parent)) for parent in folders}
    copies, files = local_copies(), dict[str, Path]()
    for path in map(PurePosixPath, names):
        if path.name in listed[path.parent.as_posix()]:
            with suppress(FileNotFoundError):
                files[path.as_posix()] = copies.get(join(address, path.as_posix()))
    # The folder of a copy stands for the content of the object.
    identity = repr([(name, copy.parent.name) for name, copy in files.items()])
    digest = blake2b(f'{address}{identity}'.encode(), digest_size=12).hexdigest()
    folder = copies.folder.parent / 'lfi_students' / digest
    if files and any(not (folder / name).is_file() for name in files):
        # Another process may have made it meanwhile.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f'{digest}.{uuid4().hex}')
        try:
            for name in files:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                # A copy that made room for others is made again.
                shutil.copyfile(copies.get(join(address, name)), temporary / name)
            with suppress(OSError):
                os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
