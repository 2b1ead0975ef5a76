"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table.

    Args:
        titles: of the columns.
        rows: the cells of each, as many as titles.
    """
    lines = (titles, ['---'] * len(titles), *rows)
    return '\n'.join(f'| {" | ".join(map(_cell, line))} |' for line in lines)


def _cell(value: object) -> str:
    # Each would end the cell, or the table.
    return ' '.join(str(value).splitlines()).replace('|', '\\|')
