"""Weights as files that are written completely or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from mmengine.runner import save_checkpoint
from torch import Tensor

from lfi.fileio import AtomicLocalBackend


def write_weights(state: Mapping[str, Tensor], path: Path, **beside: Any) -> None:
    """Write weights as the file's suffix says: .safetensors, or else as torch saves a `state_dict`.

    Args:
        state: The weights.
        path: The file.
        **beside: What stands beside the weights; .safetensors has no place for it.

    Raises:
        CheckpointWriteError: If it cannot be written; an older file stays as it is.
    """
    state = {name: value.contiguous() for name, value in state.items()}
    if path.suffix == '.safetensors':
        content = safetensors.torch.save(state, metadata={'format': 'pt'})
        AtomicLocalBackend().put(content, path)
    else:
        checkpoint = {**beside, 'state_dict': state}
        save_checkpoint(checkpoint, str(path), backend_args={'backend': 'lfi_atomic'})
