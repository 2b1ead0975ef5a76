"""The help of every tool, and what it says of a wrong argument, come without the OpenMMLab stack."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'tools').rglob('*.py')
    # Developers wait for theirs.
    if 'dev' not in path.parts
)
# Runs scripts one after the other in one process: what one of them imports is seen there.
RUN = """
import contextlib, io, json, runpy, sys
found = {}
for script in sys.argv[2:]:
    found[script] = {}
    for option in ('--help', '--no-such-option'):
        sys.argv = [script, option]
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                runpy.run_path(script, run_name='__main__')
            except SystemExit as end:
                found[script][option] = (end.code, out.getvalue())
print(json.dumps(found))
"""


@pytest.fixture(scope='module')
def answers(tool_env):
    command = [sys.executable, '-c', RUN, 'run', *SCRIPTS]
    process = subprocess.run(command, cwd=ROOT, env=tool_env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_and_errors_come_at_once(answers, script):
    answer = answers[script]
    code, text = answer['--help']
    assert code == 0
    assert text.startswith('usage: ')
    code, text = answer['--no-such-option']
    assert code == 2
    assert ': error: ' in text and text.count('\n') == 1
