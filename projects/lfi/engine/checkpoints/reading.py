"""Safe reading of checkpoints, and search for the checkpoint to resume."""

from __future__ import annotations

import io
import logging
import os
import os.path as osp
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader, find_latest_checkpoint

from lfi.errors import CheckpointError
from lfi.utils.repositories import HUB, is_student, local_folder
from lfi.utils.stores import is_address, local_path, public_address

from .addresses import download_path, gone_host_message
from .globals import ForbiddenStateError, replace_guards, runner_state_allowed

# Errors of torch about missing memory or a missing device.
_MACHINE_ERROR = re.compile(
    r'out of memory|allocate memory|\b(CUDA|HIP|XPU|MPS)\b|deserialize object on|device (string|type)'
)
# Advice in errors of torch, such as how to read the file unsafely.
_ADVICE = re.compile(r'Weights only load failed\.|In PyTorch 2\.6.*|Re-running .*|Please file an issue.*')
# Type of `map_location` of `torch.load`.
MapLocation: TypeAlias = str | torch.device | dict[str, str] | Callable | None


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that uses a class or function which is not known to be harmless."""


class CorruptedCheckpointError(CheckpointError):
    """A file that is empty, truncated, changed since it was written, or no checkpoint."""


def install_safe_checkpoint_loading() -> None:
    """Make mmengine read checkpoints without running code of the files, in the whole process.

    ``load_checkpoint``, ``init_cfg``, ``load_from`` and ``resume`` then read local files and URLs
    (``http(s)://``, ``torchvision://``, ``open-mmlab://``, ``mmcls://``, ``hf://``, and those of object
    stores) through `load_from_local`. Allow a class that you trust by
    ``torch.serialization.add_safe_globals([...])``. This
    does not apply to numpy and mmengine: only plain numbers and the state of a Runner are read, but no arrays
    of texts, dates or objects. Further calls change nothing.

    LFI's tools call it, but ``import lfi`` does not. Tools of other projects can call it, or set
    ``custom_imports = dict(imports=['lfi.safe_loading'])``.
    """
    CheckpointLoader.register_scheme(prefixes=['', HUB, 's3://'], loader=load_from_local, force=True)
    # All URL schemes of mmengine download by this function.
    mmengine_checkpoint.load_url = load_url
    # onedl-mmengine reads all other files by this function, and may fall back to unsafe reading.
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):
        mmengine_checkpoint._safe_torch_load = _safe_torch_load


@contextmanager
def safe_checkpoint_loading() -> Iterator[None]:
    """Context with `install_safe_checkpoint_loading`, which is undone afterwards.

    It is not thread-safe: other threads also read safely during the block.
    """
    schemes = CheckpointLoader._schemes
    functions = {name: getattr(mmengine_checkpoint, name, None) for name in ('load_url', '_safe_torch_load')}
    CheckpointLoader._schemes = dict(schemes)
    try:
        install_safe_checkpoint_loading()
        yield
    finally:
        CheckpointLoader._schemes = schemes
        for name, function in functions.items():
            if function is not None:
                setattr(mmengine_checkpoint, name, function)


def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """Read a checkpoint from a local file, or a student that ``lfi.save_pretrained`` wrote.

    Args:
        filename: File of ``torch.save`` or ``.safetensors`` file, or its address in an object store; or a
            student's folder, address or repository on the Hugging Face Hub, ``hf://user/name``.
        map_location: `map_location` of `torch.load`. Defaults to None.

    Returns:
        Content of the file. For a ``.safetensors`` file, name to tensor.

    Raises:
        FileNotFoundError: If the file does not exist.
        IsADirectoryError: If `filename` is a folder other than a student's.
        UnsafeCheckpointError: If the file holds more than tensors, plain data and a Runner's state.
        CorruptedCheckpointError: If the file is empty, truncated or no dict, or a checksum does not match.
        HubError: If a student's folder or repository cannot be read; see ``from_pretrained``.
        StoreError: If a store cannot be read.
    """
    if is_student(filename):
        from lfi.student_folder import read_checkpoint

        return read_checkpoint(local_folder(filename))
    filename = str(local_path(filename)) if is_address(filename) else osp.expanduser(filename)
    if osp.isdir(filename):
        raise IsADirectoryError(f'checkpoint {filename} is a folder: name a file in it, such as epoch_10.pth')
    if not osp.isfile(filename):
        raise FileNotFoundError(f'checkpoint {filename} can not be found.')
    if filename.endswith('.safetensors'):
        return _load_safetensors(filename, map_location)
    # Files of torch before 1.6 are no archives and have no checksums.
    damage = _damage(filename) if zipfile.is_zipfile(filename) else None
    if damage is not None:
        raise CorruptedCheckpointError(_changed_message(filename, damage))
    return _load_weights(filename, map_location, name=filename)


def load_url(
    url: str, model_dir: str | None = None, map_location: MapLocation = None, progress: bool = True
) -> dict:
    """Download a checkpoint unless it exists, and read it by `load_from_local`.

    Args:
        url: Address of the checkpoint.
        model_dir: Folder of downloaded files. Defaults to None: torch hub's folder.
        map_location: `map_location` of `torch.load`. Defaults to None.
        progress: Whether to show a progress bar. Defaults to True.

    Returns:
        Content of the file.

    Raises:
        CheckpointError: If the host is gone and the file was not downloaded before.
    """
    filename = download_path(url, model_dir)
    os.makedirs(osp.dirname(filename), exist_ok=True)
    if not osp.exists(filename):
        if gone := gone_host_message(url):
            # A request would wait for minutes, or get the page of the new owner of the host name.
            raise CheckpointError(
                f'{url} cannot be fetched: {gone} in its place, in load_from, init_cfg.checkpoint or '
                f'pretrained; or put the file at {filename}'
            )
        print_log(f'Downloading {public_address(url)} to {filename}', logger='current')
        torch.hub.download_url_to_file(url, filename, progress=progress)
    return load_from_local(filename, map_location)


def find_checkpoint_to_resume(work_dir: str) -> str | None:
    """Find the checkpoint from which an interrupted training resumes.

    It is the checkpoint that ``last_checkpoint`` names, also if the work dir has moved. If this checkpoint is
    missing or corrupted, the newest complete ``epoch_*.pth`` or ``iter_*.pth`` is returned, with a warning.

    Args:
        work_dir: Work dir of the interrupted run.

    Returns:
        Path of the checkpoint, or None if there is none.
    """
    latest = find_latest_checkpoint(work_dir)
    if latest and _is_complete(Path(latest)):
        return latest
    # `last_checkpoint` holds an absolute path, and the work dir may have moved.
    moved = Path(work_dir, Path(latest).name) if latest else None
    if moved and _is_complete(moved):
        return str(moved)
    folders = {Path(work_dir), *([Path(latest).parent] if latest else [])}
    saved = [
        path
        for folder in folders
        for path in folder.glob('*.pth')
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)
    ]
    newest_first = sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True)
    newest = next((str(path) for path in newest_first if _is_complete(path)), None)
    if latest:
        state = 'corrupted' if osp.exists(latest) else 'missing'
        alternative = f'Resuming from {newest} instead.' if newest else 'There is no other to resume from.'
        print_log(f'The last checkpoint {latest} is {state}. {alternative}', 'current', logging.WARNING)
    return newest


def _is_complete(path: Path) -> bool:
    """Whether a checkpoint file, or all shards in a folder, are complete and undamaged."""
    files = list(path.glob('rank*.pth')) if path.is_dir() else [path]
    return bool(files) and all(zipfile.is_zipfile(file) and _damage(file) is None for file in files)


def _damage(archive: str | Path) -> str | None:
    """Describe the damage of a zip archive, or return None. torch (2.13) does not check the checksums."""
    if not torch.serialization.get_crc32_options():
        return None
    try:
        with zipfile.ZipFile(archive) as content:
            record = content.testzip()
    # A changed byte can raise any error.
    except Exception as error:
        return _first_line(error)
    return None if record is None else f'the checksum of {record} does not match'


def _load_safetensors(filename: str, map_location: MapLocation) -> dict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        return load_file(filename, device=str(device))
    except SafetensorError as error:
        raise CorruptedCheckpointError(_unreadable_message(filename, _first_line(error))) from error


def _safe_torch_load(
    file: str | io.BytesIO, map_location: MapLocation = None, weights_only: bool | None = None
) -> dict:
    """Replace onedl-mmengine's function of this name. `weights_only=False` is ignored."""
    return _load_weights(file, map_location, name=file if isinstance(file, str) else 'the checkpoint')


def _load_weights(file: str | io.BytesIO, map_location: MapLocation, name: str) -> dict:
    try:
        # Sparse operations trust the indices, which torch checks only on request.
        with runner_state_allowed(), torch.sparse.check_sparse_tensor_invariants():
            content = torch.load(file, map_location=map_location, weights_only=True)
        content = replace_guards(content)
    except Exception as error:
        file_error = _file_error(error, name)
        if file_error is None:
            raise
        raise file_error from error
    if not isinstance(content, dict):
        raise CorruptedCheckpointError(
            _unreadable_message(name, f'it holds no dict, but `{type(content).__name__}`')
        )
    return content


def _file_error(error: Exception, name: str) -> CheckpointError | None:
    """Return the error of the file ``name`` for an error of torch, or None if the file is not the cause."""
    text = str(error)
    if isinstance(error, ForbiddenStateError):
        return UnsafeCheckpointError(
            f'{name} was refused, and no code of it was run: {text}. Objects of numpy and mmengine are read '
            'only if they are plain numbers or the state of a Runner, whatever '
            'torch.serialization.add_safe_globals allows: save texts, dates and objects as str, list and dict'
        )
    forbidden = re.search(r'GLOBAL (\S+)', text)
    if forbidden is not None:
        return UnsafeCheckpointError(_forbidden_message(name, forbidden.group(1), 'blocked' in text))
    if 'Trying to call reduce' in text or 'Can only' in text or 'Cannot use ``weights_only=True``' in text:
        return UnsafeCheckpointError(f'{name} was refused, and no code of it was run: {_first_line(error)}')
    # torch reports "invalid argument" for a zip archive without an end.
    unreadable = 'PytorchStreamReader' in text or 'unexpected EOF' in text or 'Invalid argument' in text
    if not unreadable and (isinstance(error, OSError | MemoryError) or _is_machine_error(error)):
        return None
    return CorruptedCheckpointError(_unreadable_message(name, _first_line(error)))


def _is_machine_error(error: Exception) -> bool:
    """Whether torch failed because memory or the requested device is missing."""
    return isinstance(error, RuntimeError) and _MACHINE_ERROR.search(str(error)) is not None


def _forbidden_message(name: str, forbidden: str, blocked: bool) -> str:
    message = (
        f'{name} was refused, and no code of it was run: it holds `{forbidden}`, which is neither a tensor, '
        'nor plain data, nor part of a training state.'
    )
    if blocked:
        return f'{message} Such a file can do anything to your machine: do not use it.'
    return (
        f'{message} If you trust the file and that name, allow it before loading, for example in a module '
        f'named by your config in `custom_imports`:\n    torch.serialization.add_safe_globals([{forbidden}])'
    )


def _unreadable_message(name: str, reason: str) -> str:
    return (
        f'{name} is truncated or corrupted, or no checkpoint at all: {reason}. Use an older '
        'checkpoint, or fetch the file again.'
    )


def _changed_message(name: str, damage: str) -> str:
    return (
        f'{name} is corrupted: {damage}. Use an older checkpoint, or fetch the file again. A file that was '
        'saved without checksums is read after torch.serialization.set_crc32_options(False)'
    )


def _first_line(error: Exception) -> str:
    """Return the first line of an error, without torch's advice to read the file unsafely."""
    cause = str(error).rpartition('WeightsUnpickler error: ')[2]
    lines = [line.strip() for line in _ADVICE.sub('', cause).splitlines()]
    return next(filter(None, lines), type(error).__name__).rstrip('.')
