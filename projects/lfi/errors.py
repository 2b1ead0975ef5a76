"""Errors whose message the tools print as one line."""


class UsageError(ValueError):
    """A command line, or a config, that asks for what cannot be done."""


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint that cannot be written: the disk is full, or the folder is read-only."""
