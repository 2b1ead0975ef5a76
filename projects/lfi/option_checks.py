"""What the options of a config may be: each error names the option, its value and what fits."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TypeGuard


def check_weights(**weights: object) -> None:
    """Raise a ValueError that names the first weight that is not a number of 0 or more."""
    for name, weight in weights.items():
        if not is_number(weight) or weight < 0:
            raise ValueError(f'{name}={weight!r} must be a number of 0 or more')


def check_positive(**values: object) -> None:
    """Raise a ValueError that names the first value that is not a number above 0."""
    for name, value in values.items():
        if not is_number(value) or value <= 0:
            raise ValueError(f'{name}={value!r} must be a number above 0')


def check_whole(smallest: int, **values: object) -> None:
    """Raise a ValueError that names the first value that is not a whole number of `smallest` or more."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
            raise ValueError(f'{name}={value!r} must be a whole number of {smallest} or more')


def check_flags(**flags: object) -> None:
    """Raise a ValueError that names the first value that is neither True nor False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f'{name}={flag!r} must be True or False')


def check_options(**options: object) -> None:
    """Raise a ValueError that names the first value that is not a dict."""
    for name, value in options.items():
        if not isinstance(value, Mapping):
            raise ValueError(f'{name}={value!r} must be a dict; dict() takes the defaults')


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
