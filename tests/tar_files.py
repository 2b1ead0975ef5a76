"""Tar files of small images, written by Python's tarfile."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from picture_files import write_shapes


def write_tar(file: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a tar file of members, each a name and a content, in their order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, 'w') as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def read_tar(file: Path) -> list[tuple[str, bytes]]:
    """Read the members of a tar file."""
    with tarfile.open(file) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def write_shapes_tars(folder: Path, tars: int = 3, images: int = 4) -> list[Path]:
    """Write pictures of Shapes into tar files, with labels 0, 1, 2, …; the pictures also stay as files.

    Returns:
        The paths of the tar files `train-0.tar`, …; the pictures are `folder/files/train-0/0.png`, ….
    """
    files = [folder / f'files/train-{tar}/{image}.png' for tar in range(tars) for image in range(images)]
    write_shapes('train', files)
    written = []
    for tar in range(tars):
        members = []
        for file in files[tar * images : (tar + 1) * images]:
            label = str(files.index(file)).encode()
            members += [(file.name, file.read_bytes()), (f'{file.stem}.cls', label)]
        written.append(write_tar(folder / f'train-{tar}.tar', members))
    return written
