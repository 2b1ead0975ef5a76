"""Errors whose message the tools print as one line, and what such a line says of a wrong name."""


class UsageError(ValueError):
    """A command line, or a config, that asks for what cannot be done."""


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint that cannot be written: the disk is full, or the folder is read-only."""


def near_it(names: list[str]) -> str:
    """What a message says of the names that are near a wrong one."""
    return f'near it are {", ".join(names)}' if names else 'none has a name near it'
