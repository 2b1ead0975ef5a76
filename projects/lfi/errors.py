"""Errors whose message the tools print as one line, and what such a line says of a wrong name."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """A command line, or a config, that asks for what cannot be done."""


class as_usage_error:
    """Turns errors of a block, for which the user's words are to blame, into `UsageError`s of the same words.

    Args:
        *kinds: of the errors.
    """

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = kinds

    def __enter__(self) -> None: ...

    # Type checkers take an `__exit__` that may return True for one that hides errors.
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kinds):
            raise UsageError(str(error)) from error


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint that cannot be written: the disk is full, or the folder is read-only."""


def near_it(names: list[str]) -> str:
    """What a message says of the names that are near a wrong one."""
    return f'near it are {", ".join(names)}' if names else 'none has a name near it'


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` of what is nearest to a word that is not known; empty where nothing is near."""
    near = get_close_matches(word.partition('=')[0], list(known), n=1)
    return f'did you mean {near[0]}?' if near else ''
