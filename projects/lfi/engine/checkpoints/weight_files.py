"""Safe reading and atomic writing of weight files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from mmengine.runner import save_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from lfi.engine.run_options import require_checkpoint
from lfi.student_folder.folder import independent_tensors
from lfi.utils.fileio import AtomicLocalBackend


def same_file(path: Path, source: str) -> bool:
    """Whether an output path is the file of a source, which may be an address."""
    return path.exists() and Path(source).exists() and path.samefile(source)


def read_checkpoint(path: str) -> dict:
    """Read a checkpoint safely. A bare state dict is wrapped as `state_dict`.

    Raises:
        UsageError: If the file does not exist.
    """
    require_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    return loaded if 'state_dict' in loaded else {'state_dict': loaded}


def safetensors_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Serialize weights as a .safetensors file. Tied weights are written twice."""
    return safetensors.torch.save(independent_tensors(state), metadata={'format': 'pt'})


def write_weights(state: Mapping[str, Tensor], path: Path, **metadata: Any) -> None:
    """Write weights as .safetensors or, for other suffixes, as a `state_dict` by torch.

    Args:
        state: Name to weight.
        path: File to write.
        **metadata: Further entries of the checkpoint, which .safetensors cannot hold.

    Raises:
        CheckpointWriteError: If the file cannot be written. An older file is left unchanged.
    """
    if path.suffix == '.safetensors':
        AtomicLocalBackend().put(safetensors_bytes(state), path)
    else:
        checkpoint = {**metadata, 'state_dict': {name: value.contiguous() for name, value in state.items()}}
        save_checkpoint(checkpoint, str(path), backend_args={'backend': 'lfi_atomic'})
