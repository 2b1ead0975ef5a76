"""docs/extend.md adds a supervision part and its arm by what it shows, in a copy of the repository."""

import os
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r'^```python (\S+\.py)\n(.*?)^```', re.S | re.M)


@pytest.fixture(scope='module')
def repository(tmp_path_factory):
    """A copy with what the page shows, and nothing else, added."""
    root = tmp_path_factory.mktemp('repository')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for folder in ('projects', 'research', 'configs', 'tools', 'tests'):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)
    shutil.copy(ROOT / 'pyproject.toml', root)
    files = dict(FILE.findall((ROOT / 'docs/extend.md').read_text()))
    assert len(files) == 3
    for name, code in files.items():
        path = root / name
        if path.exists():
            text = path.read_text()
            place = "    'other-image-affinity': ArmSpec("
            assert text.count(place) == 1
            path.write_text(text.replace(place, code + place))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
    return root


@pytest.fixture
def run(repository, new_python):
    """Run Python in the copy, with the copy's `lfi`."""

    def run(*command: str) -> str:
        path = os.pathsep.join([str(repository / 'projects'), str(repository), new_python.env['PYTHONPATH']])
        process = new_python.run(command, repository, {'PYTHONPATH': path})
        assert process.returncode == 0, process.stdout
        return process.stdout

    return run


def test_it_is_an_arm_of_the_studies(run):
    out = run('-m', 'research', 'study', '--print-commands', 'shapes', '--arms', 'gram')
    assert 'configs/classification/lfi_vit-128x6-p8_shapes.py' in out
    assert 'model.supervision.gram.type=lfi.Gram' in out


def test_its_tests_pass_and_those_of_all_arms(run):
    options = ('-m', 'pytest', '-p', 'no:cacheprovider', '-o', 'addopts=')
    tests = ('test_models/test_supervision/test_gram.py', 'test_research/test_studies/test_arms.py')
    out = run(*options, *(f'tests/{test}' for test in tests), '-k', 'gram or cosines')
    assert re.search(r'^[=]* ?5 passed', out, re.M)
