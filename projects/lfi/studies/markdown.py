"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    Args:
        titles: of the columns.
        rows: the cells of each, as many as titles.
    """
    lines = (titles, ['---'] * len(titles), *rows)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
