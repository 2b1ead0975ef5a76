"""Options of configs and command lines: checks, parsing and formatting of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, TypeGuard

from mmengine.config import DictAction


def check_weights(**weights: object) -> None:
    """Raise a ValueError for the first weight that is not a number of 0 or more."""
    for name, weight in weights.items():
        if not is_number(weight) or weight < 0:
            raise ValueError(f'{name}={weight!r} must be a number of 0 or more')


def check_positive(**values: object) -> None:
    """Raise a ValueError for the first value that is not a number above 0."""
    for name, value in values.items():
        if not is_number(value) or value <= 0:
            raise ValueError(f'{name}={value!r} must be a number above 0')


def check_whole(smallest: int, **values: object) -> None:
    """Raise a ValueError for the first value that is not a whole number of `smallest` or more."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
            raise ValueError(f'{name}={value!r} must be a whole number of {smallest} or more')


def check_widths(**widths: object) -> None:
    """Raise a ValueError for the first value that is neither None nor a whole number above 0."""
    check_whole(1, **{name: width for name, width in widths.items() if width is not None})


def check_flags(**flags: object) -> None:
    """Raise a ValueError for the first value that is neither True nor False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f'{name}={flag!r} must be True or False')


def check_dicts(**options: object) -> None:
    """Raise a ValueError for the first value that is not a dict."""
    for name, value in options.items():
        if not isinstance(value, Mapping):
            raise ValueError(f'{name}={value!r} must be a dict; dict() takes the defaults')


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


OPENING, CLOSING = ('[', '('), (']', ')')
# A quoted text at the end of a value.
QUOTED = re.compile(r"""(['"]).*?\1(?=\s*([,\])]|$))""", re.DOTALL)


def parse_value(text: str) -> Any:
    """Parse an option's value: a number, a bool, None, a text, or a list or tuple of these.

    Raises:
        ValueError: if the brackets of a list are unbalanced.
    """
    text = text.strip()
    quoted = QUOTED.match(text)
    if quoted and quoted.end() == len(text):
        inner = text[1:-1]
        # mmengine parses a list in quotes as a list.
        is_list = inner.startswith(OPENING) and inner.endswith(CLOSING)
        return parse_value(inner) if is_list else DictAction._parse_int_float_bool(inner)
    try:
        commas, closed = _scan(text)
    except ValueError:
        if text.startswith(OPENING) or ',' in text:
            raise
        return text
    if closed == len(text) - 1:
        values = [parse_value(part) for part in _split_commas(text[1:-1])]
        return tuple(values) if text[0] == '(' else values
    if commas:
        return [parse_value(part) for part in _split_commas(text)]
    return DictAction._parse_int_float_bool(text)


def format_option(key: str, value: Any) -> str:
    """Format an option as `key=value`, which `parse_value` reads as the same value."""
    return f'{key}={value if is_folder_option(key, str(value)) else _format_value(value)}'


def option_in_message(message: str, options: Mapping[str, Any]) -> str:
    """Return ' (from --cfg-options KEY=VALUE)' for the option whose value an error quotes, or ''.

    Args:
        message: message of the error.
        options: values of `--cfg-options` by their keys.
    """
    if '--cfg-options' in message:
        return ''
    for key, value in options.items():
        text = re.escape(value.rstrip('/')) if isinstance(value, str) else ''
        # A message may contain a word by chance, so words count only if quoted or part of a path.
        pattern = rf'(?<=[\'=/]){text}\b|\b{text}/' if text.isalpha() else rf'(?<![\w.-]){text}(?![\w-])'
        if text and re.search(pattern, message):
            return f' (from --cfg-options {format_option(key, value)})'
    return ''


def _format_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        opening, closing = '[]' if isinstance(value, list) else '()'
        return f'{opening}{", ".join(map(_format_value, value))}{closing}'
    plain = str(value)
    candidates = (plain, f'"{plain}"', f"'{plain}'")
    return next((text for text in candidates if parse_value(f'[{text}]') == [value]), plain)


def _scan(text: str) -> tuple[list[int], int | None]:
    """Positions of the commas outside quotes and brackets, and of the bracket that closes the first bracket.

    Raises:
        ValueError: if brackets are unbalanced.
    """
    commas, open_brackets, closed, i, starts_value = [], [], None, 0, True
    while i < len(text):
        char = text[i]
        quoted = QUOTED.match(text, i) if starts_value else None
        if quoted:
            i, starts_value = quoted.end(), False
            continue
        if char in OPENING:
            open_brackets.append(i)
        elif char in CLOSING:
            if not open_brackets or OPENING.index(text[open_brackets[-1]]) != CLOSING.index(char):
                raise ValueError(f'unbalanced brackets in {text}')
            if open_brackets.pop() == 0:
                closed = i
        elif char == ',' and not open_brackets:
            commas.append(i)
        # A quote inside a word is an apostrophe.
        starts_value = char in (*OPENING, ',') or (starts_value and char == ' ')
        i += 1
    if open_brackets:
        raise ValueError(f'unbalanced brackets in {text}')
    return commas, closed


def _split_commas(text: str) -> Iterator[str]:
    """Split a text at the commas outside quotes and brackets; a trailing comma adds no part."""
    commas, _ = _scan(text)
    for start, end in zip([0, *(comma + 1 for comma in commas)], [*commas, len(text)]):
        if end < len(text) or text[start:end].strip():
            yield text[start:end]


def is_folder_option(key: str, text: str) -> bool:
    """Whether an option's value is a folder, which is not parsed."""
    return is_root_option(key) or (key == 'model.teacher.cache' and text != 'None')


def is_root_option(key: str) -> bool:
    """Whether an option's key is a config's top-level variable for a data root."""
    return '.' not in key and key.endswith('_root')


# 1,000 characters fit into a picture. `\x00-\x1f\x7f-\x9f` are Unicode's control characters (Cc),
# `\ud800-\udfff` its surrogates (Cs), which cannot be encoded.
_PLAIN = re.compile(r'[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]{0,1000}')


def is_plain_text(text: str) -> bool:
    """Whether a text has at most 1,000 characters, without surrogates or controls but newline and tab."""
    return _PLAIN.fullmatch(text) is not None
