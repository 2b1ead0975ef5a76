"""Running: checkpoints, mixed precision on CPU, and what the tools share."""

from .checkpoint import (
    AtomicLocalBackend,
    CheckpointError,
    TornCheckpointError,
    UnsafeCheckpointError,
    find_checkpoint_to_resume,
    install_safe_checkpoint_loading,
)
from .optim import CPUAmpOptimWrapper

__all__ = [
    'AtomicLocalBackend',
    'CPUAmpOptimWrapper',
    'CheckpointError',
    'TornCheckpointError',
    'UnsafeCheckpointError',
    'find_checkpoint_to_resume',
    'install_safe_checkpoint_loading',
]
