"""Weights as files that are written completely or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
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
        content: bytes | memoryview = safetensors.torch.save(state, metadata={'format': 'pt'})
    else:
        buffer = io.BytesIO()
        torch.save({**beside, 'state_dict': state}, buffer)
        content = buffer.getbuffer()
    AtomicLocalBackend().put(content, path)
