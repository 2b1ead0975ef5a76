"""Publishing of a checkpoint: without its training state, named by its content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from lfi.engine.checkpoints.weight_files import read_checkpoint, safetensors_bytes
from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend

PUBLISHED_KEYS = ('meta', 'state_dict')


def publish(source: str, out: Path, no_ema: bool = False) -> Path:
    """Write a checkpoint without its training state, with the digest of its content in the file name.

    Args:
        source: path or URL of a .pth or .safetensors file.
        out: x.pth or x.safetensors is written as x-<first 8 digits of its sha256>. A .safetensors file holds
            only the weights; a .pth file also holds the training's meta data.
        no_ema: whether to publish the trained weights instead of EMAHook's averages. Defaults to False.

    Returns:
        The written file.

    Raises:
        UsageError: if the checkpoint does not exist, or `no_ema` is set and it has no averages.
    """
    checkpoint = read_checkpoint(source)
    if no_ema:
        restore_trained_weights(checkpoint, source)
    elif 'ema_state_dict' in checkpoint:
        print("The weights are EMAHook's averages; --no-ema publishes the trained ones.")
    removed = [key for key in checkpoint if key not in PUBLISHED_KEYS]
    published = {key: checkpoint[key] for key in PUBLISHED_KEYS if key in checkpoint}
    content = serialise(published, out.suffix)
    if out.suffix == '.safetensors' and 'meta' in published:
        # A safetensors file holds only tensors.
        removed.append('meta')
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = out.with_stem(f'{out.stem}-{digest}')
    AtomicLocalBackend().put(content, path)
    print(f'Removed {", ".join(removed) or "nothing"}. Wrote {path} ({len(content) / 1e6:,.3f} MB).')
    return path


def restore_trained_weights(checkpoint: dict, path: str) -> None:
    """Move the trained weights from `ema_state_dict`, where EMAHook saves them, to `state_dict`.

    Raises:
        UsageError: if the checkpoint has no `ema_state_dict`.
    """
    if 'ema_state_dict' not in checkpoint:
        raise UsageError(f'--no-ema: {path} has no ema_state_dict, which EMAHook writes')
    prefix = 'module.'
    for name, value in checkpoint['ema_state_dict'].items():
        # `ema_state_dict` also holds a count of steps.
        if name.startswith(prefix):
            checkpoint['state_dict'][name.removeprefix(prefix)] = value


def serialise(checkpoint: dict, suffix: str) -> bytes:
    """Serialise a checkpoint to bytes that do not depend on the file's name."""
    if suffix == '.safetensors':
        return safetensors_bytes(checkpoint['state_dict'])
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()
