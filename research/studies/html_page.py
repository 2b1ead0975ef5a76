"""HTML page in one file, readable offline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from lfi.utils.matplotlib_settings import save_figure
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
body { color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: left }
img { max-width: 100%; height: auto }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 }
  th, td { border-color: #444 }
  pre { background: #262626 }
  img { background: #fff }
}
"""


def html_page(title: str, parts: Sequence[str | Figure]) -> str:
    """Render text and figures as one HTML page, with embedded pictures.

    Args:
        title: title and heading of the page.
        parts: parts from top to bottom: figures, or Markdown with tables. HTML in Markdown is escaped.
    """
    markdown = MarkdownIt('commonmark', {'html': False}).enable('table')
    body = [markdown.render(f'# {title}')]
    body += [markdown.render(part) if isinstance(part, str) else _picture(part) for part in parts]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'{"".join(body)}</body>\n</html>\n'
    )


def _picture(figure: Figure) -> str:
    file = io.BytesIO()
    save_figure(figure, file, format='png', dpi=110)
    data = base64.b64encode(file.getvalue()).decode()
    title = html.escape(figure.get_suptitle() or 'figure', quote=True)
    return f'<p><img alt="{title}" src="data:image/png;base64,{data}"></p>\n'
