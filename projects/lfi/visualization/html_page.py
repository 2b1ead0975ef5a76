"""HTML page in one file, readable offline, with embedded pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lfi.utils.matplotlib_settings import save_figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
body { color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: left }
img { max-width: 100%; height: auto }
figure { margin: 1rem 0 }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 }
  th, td { border-color: #444 }
  pre { background: #262626 }
  img { background: #fff }
}
"""


def html_document(title: str, body: Iterable[str]) -> str:
    """Join parts of HTML to a page.

    Args:
        title: title of the page, as text.
        body: parts from top to bottom, as HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'{"".join(body)}</body>\n</html>\n'
    )


def figure_html(figure: Figure, title: str) -> str:
    """Embed a figure as a PNG; `title` is its alternative text."""
    file = BytesIO()
    save_figure(figure, file, format='png', dpi=110)
    return f'<p>{_image(file, "png", title)}</p>\n'


def picture_html(pixels: np.ndarray, caption: str) -> str:
    """Embed a picture (H, W, 3) uint8 RGB as a JPEG, above its caption."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, format='JPEG', quality=85)
    image = _image(file, 'jpeg', caption)
    return f'<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>\n'


def table_html(titles: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Build a table of texts, with a row of titles unless these are empty."""
    head = [f'<tr>{"".join(f"<th>{escape(str(title))}</th>" for title in titles)}</tr>\n'] if titles else []
    body = (f'<tr>{"".join(f"<td>{escape(str(cell))}</td>" for cell in row)}</tr>\n' for row in rows)
    return f'<table>\n{"".join([*head, *body])}</table>\n'


def _image(file: BytesIO, kind: str, title: str) -> str:
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(title)}" src="data:image/{kind};base64,{data}">'
