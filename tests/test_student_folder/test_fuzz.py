"""No registered type opens a file, or runs code, that lies in the working directory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('fuzz_types.py')


@pytest.fixture
def nothing_was_opened(tmp_path):
    """`nothing_was_opened(python, share)` fuzzes a share of the types, and gives the report."""

    def check(python, share, env):
        folder, report = tmp_path / 'planted', tmp_path / 'report.json'
        folder.mkdir()
        command = [*python, str(SCRIPT), str(share), str(report)]
        subprocess.run(command, cwd=folder, env=env, check=True, stdin=subprocess.DEVNULL)
        found = json.loads(report.read_text())
        assert (found['opened'], found['read'], found['ran']) == ([], [], None)
        assert found['planted'] and found['configs'] > 10 * found['types']
        return found

    return check


def test_a_sample_of_the_types_opens_nothing(nothing_was_opened, warm_python):
    nothing_was_opened([warm_python.executable], 0.01, warm_python.env)


@pytest.mark.fuzz
def test_no_type_opens_anything(nothing_was_opened, tool_env, capsys):
    found = nothing_was_opened([sys.executable], 1, tool_env)
    with capsys.disabled():
        print({name: found[name] for name in ('types', 'outcomes', 'configs', 'planted')})
        print('\n'.join(f'{place}: {result}' for place, result in found['not_buildable'].items()))
    assert found['outcomes']['not buildable'] < 0.05 * found['types']
    assert found['outcomes']['built'] > 200
