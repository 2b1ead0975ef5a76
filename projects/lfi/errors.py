"""Errors that the tools print as one line, and suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """A command line or config that cannot be carried out."""


class as_usage_error:
    """Context manager that raises errors of a block, caused by the user's input, as `UsageError`s.

    Args:
        *kinds: classes of the errors to convert; the message stays.
    """

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = kinds

    def __enter__(self) -> None: ...

    # Returns None: type checkers assume that an `__exit__` that returns a bool hides errors.
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kinds):
            raise UsageError(str(error)) from error


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint that cannot be written: the disk is full, or the folder is read-only."""


def similar_names(names: list[str]) -> str:
    """Return `similar names: X, Y` for a message about an unknown name."""
    return f'similar names: {", ".join(names)}' if names else 'no name is similar'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean X?` with the known word that is most similar; '' if none is."""
    matches = get_close_matches(word.partition('=')[0], list(known), n=1)
    return f'did you mean {matches[0]}?' if matches else ''
