"""Files of weights: read without running code, and written completely or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from mmengine.runner import save_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from lfi.engine.run_options import require_checkpoint
from lfi.student_folder.folder import independent
from lfi.utils.fileio import AtomicLocalBackend


def same_file(path: Path, source: str) -> bool:
    """Whether a path that is to be written is that of a source, which may be an address."""
    return path.exists() and Path(source).exists() and path.samefile(source)


def read_checkpoint(path: str) -> dict:
    """Read a checkpoint, whose code is not run; weights that stand alone become its `state_dict`.

    Raises:
        UsageError: If there is no such file.
    """
    require_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger=None)
    return loaded if 'state_dict' in loaded else {'state_dict': loaded}


def safetensors_of(state: Mapping[str, Tensor]) -> bytes:
    """The bytes of a .safetensors file; weights that are tied are written twice."""
    return safetensors.torch.save(independent(state), metadata={'format': 'pt'})


def write_weights(state: Mapping[str, Tensor], path: Path, **beside: Any) -> None:
    """Write weights as the file's suffix says: .safetensors, or else as torch saves a `state_dict`.

    Args:
        state: The weights.
        path: The file.
        **beside: What stands beside the weights; .safetensors has no place for it.

    Raises:
        CheckpointWriteError: If it cannot be written; an older file stays as it is.
    """
    if path.suffix == '.safetensors':
        AtomicLocalBackend().put(safetensors_of(state), path)
    else:
        checkpoint = {**beside, 'state_dict': {name: value.contiguous() for name, value in state.items()}}
        save_checkpoint(checkpoint, str(path), backend_args={'backend': 'lfi_atomic'})
