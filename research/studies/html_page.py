"""HTML page of a comparison, from Markdown and figures."""

from __future__ import annotations

from collections.abc import Sequence

from lfi.visualization.html_page import figure_html, html_document
from markdown_it import MarkdownIt
from matplotlib.figure import Figure


def html_page(title: str, parts: Sequence[str | Figure]) -> str:
    """Render text and figures as one HTML page, with embedded pictures.

    Args:
        title: title and heading of the page.
        parts: parts from top to bottom: figures, or Markdown with tables. HTML in Markdown is escaped.
    """
    markdown = MarkdownIt('commonmark', {'html': False}).enable('table')
    body = [markdown.render(f'# {title}')]
    body += [
        markdown.render(part) if isinstance(part, str) else figure_html(part, part.get_suptitle() or 'figure')
        for part in parts
    ]
    return html_document(title, body)
