"""The site of the pages: what leads where, and what of the package has an entry. `make docs` builds it."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'


@pytest.fixture(scope='module')
def site_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / '_ext')
        yield importlib.import_module('site_pages')


@pytest.fixture(scope='module')
def api_pages(site_pages):
    return sys.modules['api_pages']


@pytest.fixture(scope='module')
def api(api_pages):
    return api_pages.pages()


def entries(page: str) -> list[str]:
    """What a page of the API describes, without the members of classes."""
    return re.findall(r'^`{6}\{py:\w+\} (\w+)', page, re.M)


@pytest.mark.parametrize(
    ('page', 'link', 'expected'),
    [
        ('configs', '../configs/_base_', 'repository:configs/_base_'),
        ('configs', 'get_started.md#data', 'get_started.md#data'),
        ('index', '../CONTRIBUTING.md', '/contributing.md'),
        ('index', '../projects/lfi', '/api/index.md'),
        ('contributing', '../LICENSE', 'repository:LICENSE'),
        ('tutorials/first', '../configs.md', '../configs.md'),
        ('tutorials/first', '../../tools/train.py', 'repository:tools/train.py'),
        ('configs', 'https://arxiv.org/abs/1', 'https://arxiv.org/abs/1'),
    ],
)
def test_links_lead_to_pages_or_to_the_repository(site_pages, page, link, expected):
    source = [f'See [it]({link}).']
    site_pages.follow_links(None, page, source)
    assert source == [f'See [it]({expected}).']


def test_the_first_page_leads_to_every_other_one(site_pages):
    source = [(DOCS / 'index.md').read_text()]
    site_pages.follow_links(None, 'index', source)
    site_pages.add_sidebar(None, 'index', source)
    listed = re.findall(r'^[^-\n].* <(.*)>$', source[0], re.M)
    pages = [path.relative_to(DOCS).with_suffix('').as_posix() for path in DOCS.glob('*.md')]
    pages += [path.relative_to(DOCS).with_suffix('').as_posix() for path in DOCS.glob('tutorials/*.ipynb')]
    assert sorted(listed) == sorted({*pages, 'api/index', 'contributing'} - {'index'})


def test_pages_of_the_repository_alone_become_pages(site_pages, tmp_path):
    site_pages.add_contributing(tmp_path)
    text = (tmp_path / 'contributing.md').read_text()
    assert '](data.md#data-of-our-own-configs)' in text and '](../LICENSE)' in text


@pytest.mark.parametrize(
    'package', ['lfi', 'lfi.models', 'lfi.pseudo_labels', 'lfi.structures', 'lfi.unreadable']
)
def test_a_page_has_all_that_its_package_exports(api, package):
    assert set(entries(api[package])) == set(importlib.import_module(package).__all__)


def test_each_name_is_described_once(api):
    assert 'InteractionQueryViT' in entries(api['lfi.models'])
    assert 'InteractionQueryViT' not in entries(api['lfi.models.backbones'])
    assert 'InteractionRecorder' in entries(api['lfi.models.backbones'])
    # All of it is in lfi.
    assert 'lfi.hub' not in api


def test_docstrings_become_fields(api_pages):
    text = """Do it.

Args:
    size: Height and
        width.
    *rest: More.

Returns:
    What is left.

Raises:
    ValueError: If it is too large: then it
        does not fit.
"""
    assert api_pages.markdown(text) == (
        'Do it.\n\n:param size: Height and\n    width.\n:param \\*rest: More.\n:returns: What is left.\n'
        ':raises ValueError: If it is too large: then it\n    does not fit.'
    )


def test_entries_show_how_a_thing_is_called(api):
    assert '{py:function} config_path(name: str) -> str' in api['lfi']
    # A dataclass by its fields, a class by __init__, a property by its type.
    assert (
        '{py:class} ImageFeatures(pooled: Tensor, scores: Tensor, locations: Tensor)' in api['lfi.structures']
    )
    assert '{py:class} Shapes(split: str, num_images: int, img_size: int=64' in api['lfi.datasets']
    assert re.search(r'`{5}\{py:property\} grid\n:type: tuple\[int, int\]', api['lfi.structures'])
