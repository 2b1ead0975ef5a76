"""Running: hooks, checkpoints, mixed precision on the CPU, and what the tools share."""

from lfi.errors import CheckpointError, CheckpointWriteError
from lfi.fileio import AtomicLocalBackend

from .checkpoint import (
    CorruptedCheckpointError,
    UnsafeCheckpointError,
    find_checkpoint_to_resume,
    install_safe_checkpoint_loading,
    safe_checkpoint_loading,
)
from .complete_checkpoint_hook import CompleteCheckpointHook
from .fitting_weights_hook import FittingWeightsHook
from .missed_validation_hook import MissedValidationHook
from .non_finite_hook import NonFiniteError, NonFiniteHook
from .optim import CPUAmpOptimWrapper
from .resumed_steps_hook import ResumedStepsHook

__all__ = [
    'AtomicLocalBackend',
    'CPUAmpOptimWrapper',
    'CheckpointError',
    'CheckpointWriteError',
    'CompleteCheckpointHook',
    'FittingWeightsHook',
    'MissedValidationHook',
    'NonFiniteError',
    'NonFiniteHook',
    'ResumedStepsHook',
    'CorruptedCheckpointError',
    'UnsafeCheckpointError',
    'find_checkpoint_to_resume',
    'install_safe_checkpoint_loading',
    'safe_checkpoint_loading',
]
