"""Docstrings and names use the words of docs/glossary.md, and no others for the same things."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    path for top in ('projects', 'research', 'tools', 'benchmarks') for path in (ROOT / top).rglob('*.py')
]
PAGES = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]
OLD_WORDS = r'\b(rivalry|rivals|attention[- ]transfer|positions_\w+|concepts_weight|likewise|as ever)\b'
# A docstring names its thing first.
OPENINGS = re.compile(r'(What|Which|Where|How|As|Of|That|Those|These|It|They|By)\b')
PRONOUNS = {'its', 'theirs', 'told', 'said', 'everywhere', 'like'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_names_things_in_the_fields_words(path):
    text = path.read_text()
    assert not re.findall(OLD_WORDS, text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            assert not OPENINGS.match(ast.get_docstring(node) or ''), ast.get_docstring(node)
        names = {node.arg} if isinstance(node, ast.arg) else {getattr(node, 'id', '')}
        assert not names & PRONOUNS


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.name)
def test_pages_use_no_old_word(path):
    assert not re.findall(OLD_WORDS, path.read_text())
