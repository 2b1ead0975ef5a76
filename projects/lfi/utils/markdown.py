"""Markdown tables and escaping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKS = re.compile(r'([\\`*_\[\]<>&|~#])')


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table.

    Args:
        titles: titles of the columns.
        rows: cells of each row, as many as titles.
    """
    lines = (titles, ['---'] * len(titles), *rows)
    return '\n'.join(f'| {" | ".join(map(_cell, line))} |' for line in lines)


def plain(text: str) -> str:
    """Escape an untrusted text to one line without markup."""
    return _MARKS.sub(r'\\\1', ' '.join(text.split()))


def _cell(value: object) -> str:
    # Newlines and pipes would end the cell.
    return ' '.join(str(value).splitlines()).replace('|', '\\|')
