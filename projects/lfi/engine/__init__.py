"""Hooks, checkpoints, options and launching of runs. The package imports no model."""

from lfi.errors import CheckpointError, CheckpointWriteError
from lfi.utils.fileio import AtomicLocalBackend

from .checkpoints.reading import (
    CorruptedCheckpointError,
    UnsafeCheckpointError,
    find_checkpoint_to_resume,
    install_safe_checkpoint_loading,
    safe_checkpoint_loading,
)
from .cpu_amp import CPUAmpOptimWrapper
from .hooks.fitting_weights import FittingWeightsHook
from .hooks.non_finite import NonFiniteError, NonFiniteHook
from .hooks.progress import ProgressHook
from .hooks.resuming import CompleteCheckpointHook, MissedValidationHook, ResumedStepsHook
from .hooks.stream_resume import StreamResumeHook

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
    'ProgressHook',
    'ResumedStepsHook',
    'StreamResumeHook',
    'CorruptedCheckpointError',
    'UnsafeCheckpointError',
    'find_checkpoint_to_resume',
    'install_safe_checkpoint_loading',
    'safe_checkpoint_loading',
]
