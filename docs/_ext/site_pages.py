"""The pages are read on GitHub as they are; here is what the site adds to them.

- The sidebar is made of the lists of links in index.md, one part for each title.
- A link to a file of the repository that is no page leads to the repository.
- CONTRIBUTING.md, which lies where GitHub looks for it, becomes a page.
- So does each package of the sources, with what it exports.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import api_pages

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
# Pages of the site that have another place in the repository.
MOVED = {'CONTRIBUTING.md': 'contributing.md', 'projects/lfi': 'api/index.md'}
LINK = re.compile(r'\]\(([\w./-]+)(#[\w-]+)?\)')
NOTE = '<!-- Made of CONTRIBUTING.md by _ext/site_pages.py. -->\n\n'


def setup(app: Sphinx) -> dict:
    app.connect('builder-inited', lambda app: add_contributing(DOCS))
    app.connect('builder-inited', lambda app: api_pages.write(DOCS / 'api'))
    app.connect('source-read', follow_links)
    app.connect('source-read', add_sidebar)
    return {'parallel_read_safe': True}


def add_contributing(folder: Path) -> None:
    text = NOTE + (ROOT / 'CONTRIBUTING.md').read_text()
    page = folder / 'contributing.md'
    text = LINK.sub(lambda link: f']({posixpath.relpath(link[1], "docs")}{link[2] or ""})', text)
    if not page.is_file() or page.read_text() != text:
        page.write_text(text)


def follow_links(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links that leave docs/ lead where the site has what they name, or to the repository."""

    def follow(link: re.Match) -> str:
        anchor = link[2] or ''
        path = posixpath.normpath(posixpath.join('docs', posixpath.dirname(page), link[1]))
        if path in MOVED:
            return f'](/{MOVED[path]}{anchor})'
        if path.startswith('docs/'):
            return link[0]
        return f'](repository:{path})'

    if not page.startswith('api/'):
        source[0] = LINK.sub(follow, source[0])


def add_sidebar(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the trees of pages to the first one."""
    if page != 'index':
        return
    for part in source[0].split('\n## ')[1:]:
        pages = re.findall(r'^- \[(.*?)\]\(/?(.*?)\.\w+\)', part, re.M)
        entries = [f'{title} <{name}>' for title, name in pages]
        source[0] += '\n'.join(
            ['\n```{toctree}', ':hidden:', f':caption: {part.splitlines()[0]}', '', *entries, '```\n']
        )
