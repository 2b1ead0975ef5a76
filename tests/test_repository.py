"""What stands at the top of the repository agrees with the package."""

import re
from pathlib import Path

import pytest
import yaml
from lfi.version import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / '.github').is_dir(), reason='this is no clone')


def test_what_is_cited_is_this_version():
    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version'] == __version__


def test_every_python_and_every_stack_is_tested():
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())['jobs']
    matrix = jobs['test']['strategy']['matrix']
    lowest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / 'pyproject.toml').read_text())[1]
    assert matrix['python'][0] == f'3.{lowest}' and len(matrix['python']) == 4
    extras = {extra for stack in matrix['stack'] for extra in stack.split(',')}
    assert {'onedl', 'openmmlab'} < extras
    assert all((ROOT / f'requirements/{extra}.txt').is_file() for extra in extras)


def test_the_license_is_named_everywhere_alike():
    assert (ROOT / 'LICENSE').read_text().split()[:4] == ['Apache', 'License', 'Version', '2.0,']
    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['license'] == 'Apache-2.0'
    assert '\nlicense = "Apache-2.0"\n' in (ROOT / 'pyproject.toml').read_text()


def test_the_image_installs_what_the_commands_install():
    """The extra `all`, by its files, so that an image's layers outlive a change of the sources."""
    installed = set(re.findall(r'requirements/(\w+)\.txt', (ROOT / 'Dockerfile').read_text()))
    extra = re.search(r'^all = \{ file = \[(.*?)\]', (ROOT / 'pyproject.toml').read_text(), re.S | re.M)[1]
    assert installed == {'runtime', *re.findall(r'requirements/(\w+)\.txt', extra)}
