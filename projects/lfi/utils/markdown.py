"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKS = re.compile(r'([\\`*_\[\]<>&|~#])')


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table.

    Args:
        titles: of the columns.
        rows: the cells of each, as many as titles.
    """
    lines = (titles, ['---'] * len(titles), *rows)
    return '\n'.join(f'| {" | ".join(map(_cell, line))} |' for line in lines)


def plain(text: str) -> str:
    """A text of someone else as it is to be read: one line, in which no character marks up."""
    return _MARKS.sub(r'\\\1', ' '.join(text.split()))


def _cell(value: object) -> str:
    # Each would end the cell, or the table.
    return ' '.join(str(value).splitlines()).replace('|', '\\|')
