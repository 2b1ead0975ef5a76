"""The site of these pages: `make docs` builds docs/_build/html."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / '_ext'))

project = 'LFI'
author = 'The LFI contributors'
project_copyright = author
release = re.search(r"__version__ = '(.+)'", (ROOT / 'projects/lfi/version.py').read_text())[1]

extensions = ['myst_nb', 'sphinx_copybutton', 'sphinxcontrib.mermaid', 'site_pages']
exclude_patterns = ['_build', '_ext']

html_theme = 'furo'
html_title = f'LFI {release}'
html_show_sphinx = False
html_static_path = ['_static']
html_css_files = ['lfi.css']
# Anchors of titles are those of GitHub, so that links work in both places.
myst_heading_anchors = 4
# Files of the repository that are no pages: on GitHub in a workflow, else in this clone.
github = '{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}'
repository = github.format_map(os.environ) if 'GITHUB_REPOSITORY' in os.environ else ROOT.as_uri()
myst_url_schemes = {'http': None, 'https': None, 'repository': repository + '/{{path}}'}
# The arguments of docstrings.
myst_enable_extensions = ['fieldlist']
# Drawn on GitHub, and so here.
myst_fence_as_directive = ['mermaid']
mermaid_height = 'auto'
mermaid_fullscreen = False
# Notebooks are shown as they were run last.
nb_execution_mode = 'off'
