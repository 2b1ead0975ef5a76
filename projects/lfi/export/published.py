"""A checkpoint without its training state, named by its content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from lfi.engine.checkpoints.weight_files import read_checkpoint, safetensors_of
from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend

KEPT = ('meta', 'state_dict')


def publish(source: str, out: Path, no_ema: bool = False) -> Path:
    """Write a checkpoint without its training state, under a name that has the digest of its content.

    Args:
        source: a .pth or .safetensors file; a path or URL.
        out: x.pth or x.safetensors is written as x-<first 8 digits of its sha256>. safetensors holds the
            weights alone, .pth the meta data of the training too.
        no_ema: whether the trained weights are published, and not EMAHook's averages. Defaults to False.

    Returns:
        The file that was written.

    Raises:
        UsageError: if there is no such checkpoint, or it has no averages to leave out.
    """
    checkpoint = read_checkpoint(source)
    if no_ema:
        restore_trained_weights(checkpoint, source)
    elif 'ema_state_dict' in checkpoint:
        print("The weights are EMAHook's averages; --no-ema publishes the trained ones.")
    removed = [key for key in checkpoint if key not in KEPT]
    published = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    content = serialise(published, out.suffix)
    if out.suffix == '.safetensors' and 'meta' in published:
        # It holds tensors alone.
        removed.append('meta')
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = out.with_stem(f'{out.stem}-{digest}')
    AtomicLocalBackend().put(content, path)
    print(f'Removed {", ".join(removed) or "nothing"}. Wrote {path} ({len(content) / 1e6:,.3f} MB).')
    return path


def restore_trained_weights(checkpoint: dict, path: str) -> None:
    """Undo the exchange of EMAHook, which saves averages in `state_dict`, and weights in `ema_state_dict`.

    Raises:
        UsageError: If the checkpoint has no averages.
    """
    if 'ema_state_dict' not in checkpoint:
        raise UsageError(f'--no-ema: {path} has no ema_state_dict, which EMAHook writes')
    prefix = 'module.'
    for name, value in checkpoint['ema_state_dict'].items():
        # It holds a count of steps too.
        if name.startswith(prefix):
            checkpoint['state_dict'][name.removeprefix(prefix)] = value


def serialise(checkpoint: dict, suffix: str) -> bytes:
    """The bytes of a file, which depend on the checkpoint alone and not on the name of the file."""
    if suffix == '.safetensors':
        return safetensors_of(checkpoint['state_dict'])
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()
