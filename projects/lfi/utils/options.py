"""Options of configs and command lines: checks of values, and what a typed value means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, TypeGuard

from mmengine.config import DictAction


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


def check_widths(**widths: object) -> None:
    """Raise a ValueError that names the first value that is neither None nor a whole number above 0."""
    check_whole(1, **{name: width for name, width in widths.items() if width is not None})


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


OPENING, CLOSING = ('[', '('), (']', ')')
# A text in quotes, up to where it ends a value.
QUOTED = re.compile(r"""(['"]).*?\1(?=\s*([,\])]|$))""", re.DOTALL)


def value_of(text: str) -> Any:
    """What an option's value means: a number, a bool, None, a text, or a list or tuple of these.

    Raises:
        ValueError: if brackets do not fit one another in a list.
    """
    text = text.strip()
    quoted = QUOTED.match(text)
    if quoted and quoted.end() == len(text):
        inner = text[1:-1]
        # A list in quotes is a list, as mmengine has it.
        is_list = inner.startswith(OPENING) and inner.endswith(CLOSING)
        return value_of(inner) if is_list else DictAction._parse_int_float_bool(inner)
    try:
        commas, closed = _outline(text)
    except ValueError:
        if text.startswith(OPENING) or ',' in text:
            raise
        return text
    if closed == len(text) - 1:
        values = [value_of(part) for part in _parts(text[1:-1])]
        return tuple(values) if text[0] == '(' else values
    if commas:
        return [value_of(part) for part in _parts(text)]
    return DictAction._parse_int_float_bool(text)


def option_of(key: str, value: Any) -> str:
    """The pair that is read as this value again."""
    return f'{key}={value if names_folder(key, str(value)) else _written(value)}'


def blamed_option(message: str, options: Mapping[str, Any]) -> str:
    """What to add to an error's message that has the text of an option, as a path: whose it is; else ''.

    Args:
        message: of the error.
        options: the values of `--cfg-options`, by their keys.
    """
    if '--cfg-options' in message:
        return ''
    for key, value in options.items():
        text = re.escape(value.rstrip('/')) if isinstance(value, str) else ''
        # A plain word may be one of the message's own, unless it is quoted or a part of a path.
        found = rf'(?<=[\'=/]){text}\b|\b{text}/' if text.isalpha() else rf'(?<![\w.-]){text}(?![\w-])'
        if text and re.search(found, message):
            return f' (from --cfg-options {option_of(key, value)})'
    return ''


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        opening, closing = '[]' if isinstance(value, list) else '()'
        return f'{opening}{", ".join(map(_written, value))}{closing}'
    plain = str(value)
    ways = (plain, f'"{plain}"', f"'{plain}'")
    return next((way for way in ways if value_of(f'[{way}]') == [value]), plain)


def _outline(text: str) -> tuple[list[int], int | None]:
    """Where commas are outside quotes and brackets, and where the bracket that begins the text is closed.

    Raises:
        ValueError: if brackets do not fit one another.
    """
    commas, open_at, closed, at, begins = [], [], None, 0, True
    while at < len(text):
        char = text[at]
        quoted = QUOTED.match(text, at) if begins else None
        if quoted:
            at, begins = quoted.end(), False
            continue
        if char in OPENING:
            open_at.append(at)
        elif char in CLOSING:
            if not open_at or OPENING.index(text[open_at[-1]]) != CLOSING.index(char):
                raise ValueError(f'brackets do not fit one another in {text}')
            if open_at.pop() == 0:
                closed = at
        elif char == ',' and not open_at:
            commas.append(at)
        # A quote inside a word is an apostrophe.
        begins = char in (*OPENING, ',') or (begins and char == ' ')
        at += 1
    if open_at:
        raise ValueError(f'brackets do not fit one another in {text}')
    return commas, closed


def _parts(text: str) -> Iterator[str]:
    """What commas outside quotes and brackets part; nothing follows the last one."""
    commas, _ = _outline(text)
    for start, end in zip([0, *(at + 1 for at in commas)], [*commas, len(text)]):
        if end < len(text) or text[start:end].strip():
            yield text[start:end]


def names_folder(key: str, text: str) -> bool:
    """Whether an option's value is a folder, which stays as it is typed."""
    return names_root(key) or (key == 'model.teacher.cache' and text != 'None')


def names_root(key: str) -> bool:
    """Whether an option's key is that of a variable at a config's top which says where data are."""
    return '.' not in key and key.endswith('_root')


# A length that a picture has room for. `\x00-\x1f\x7f-\x9f` are Unicode's controls (Cc), `\ud800-\udfff` its
# surrogates (Cs), which no encoding writes.
_PLAIN = re.compile(r'[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]{0,1000}')


def plain_text(text: str) -> bool:
    """Whether a text has at most 1,000 characters, no control but newline and tab, and no lone surrogate."""
    return _PLAIN.fullmatch(text) is not None
