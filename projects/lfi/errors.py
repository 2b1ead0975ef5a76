"""Errors whose message the tools print as one line, and hints for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """Error of a command line or a config."""


class as_usage_error:
    """Context manager that turns errors of some types into a `UsageError` with the same message.

    Args:
        *kinds: types of the errors.
    """

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = kinds

    def __enter__(self) -> None: ...

    # It must return None: type checkers assume that an `__exit__` that may return True hides errors.
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kinds):
            raise UsageError(str(error)) from error


class CheckpointError(RuntimeError):
    """Error of a checkpoint file that cannot be used."""


class CheckpointWriteError(CheckpointError, OSError):
    """Error of a checkpoint that cannot be written: the disk is full, or the folder is read-only."""


def similar_names(names: list[str]) -> str:
    """Return a phrase that lists similar names, for the message about an unknown name."""
    return f'similar names are {", ".join(names)}' if names else 'no name is similar'


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `did you mean X?` for the choice most similar to a word, or an empty string if none is."""
    similar = get_close_matches(word.partition('=')[0], list(choices), n=1)
    return f'did you mean {similar[0]}?' if similar else ''
