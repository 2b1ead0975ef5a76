"""The notebooks in docs/tutorials/ run as they are stored, with fewer images."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / 'docs/tutorials').glob('*.ipynb'))
SMALL = {
    'classify_photos': dict(EPOCHS=1, IMAGES=320),
    'detect_objects': dict(EPOCHS=1, IMAGES=100),
    'pretrain_and_ask': dict(EPOCHS=1, IMAGES=200),
}
# What a notebook's kernel does beyond Python: a line that begins with ! is a command of the shell.
KERNEL = """
import os, subprocess, sys
import matplotlib
matplotlib.use('Agg')
def shell(command):
    path = os.path.dirname(sys.executable)
    command = command.format_map(globals()).replace('lfi ', f'{sys.executable} -m lfi ', 1)
    subprocess.run(['bash', '-o', 'pipefail', '-c', command], check=True)
"""


def cells(notebook: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())['cells'] if cell['cell_type'] == kind]


def script(notebook: Path) -> str:
    """Its code, with small numbers for what it calls its parameters."""
    parts = [KERNEL]
    for cell in cells(notebook, 'code'):
        code = ''.join(cell['source'])
        if 'parameters' in cell['metadata'].get('tags', []):
            for name, value in SMALL[notebook.stem].items():
                code, count = re.subn(rf'^{name} = \d+', f'{name} = {value}', code, flags=re.M)
                assert count == 1, name
        parts.append(re.sub(r'^!(.*)$', lambda line: f'shell({line[1]!r})', code, flags=re.M))
    return '\n'.join(parts)


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda path: path.stem)
def test_its_code_runs(notebook, warm_python, tmp_path):
    (tmp_path / 'notebook.py').write_text(script(notebook))
    process = warm_python.run([tmp_path / 'notebook.py'], tmp_path)
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_small_as_it_ran_in_order(notebook):
    assert notebook.stat().st_size < 400_000
    code = cells(notebook, 'code')
    assert [cell['execution_count'] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell['outputs']]
    assert any('image/png' in output.get('data', {}) for output in outputs)
    assert not [output for output in outputs if output['output_type'] == 'error']
    # No path of the machine that ran it.
    assert not re.search(r'/(home|root|tmp|work)/', notebook.read_text())


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(notebook):
    for cell in cells(notebook, 'markdown'):
        for target in re.findall(r'\]\(([^)\s#]+)', ''.join(cell['source'])):
            assert target.startswith('https://') or (notebook.parent / target).exists(), target
