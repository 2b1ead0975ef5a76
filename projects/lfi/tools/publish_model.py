"""A checkpoint without its training state, named by its content."""

from __future__ import annotations

import hashlib
import io
from argparse import Namespace

import torch

from lfi.engine import AtomicLocalBackend
from lfi.errors import UsageError

from .weight_files import read_checkpoint, safetensors_of

KEPT = ('meta', 'state_dict')


def main(args: Namespace) -> None:
    """Run the tool."""
    checkpoint = read_checkpoint(args.checkpoint)
    if args.no_ema:
        restore_trained_weights(checkpoint, args.checkpoint)
    elif 'ema_state_dict' in checkpoint:
        print("The weights are EMAHook's averages; --no-ema publishes the trained ones.")
    removed = [key for key in checkpoint if key not in KEPT]
    published = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    content = serialise(published, args.out.suffix)
    if args.out.suffix == '.safetensors' and 'meta' in published:
        # It holds tensors alone.
        removed.append('meta')
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = args.out.with_stem(f'{args.out.stem}-{digest}')
    AtomicLocalBackend().put(content, path)
    print(f'Removed {", ".join(removed) or "nothing"}. Wrote {path} ({len(content) / 1e6:,.3f} MB).')


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
