"""What a script meets in a fork of a warm Python is what it meets in a process of its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import atexit, os, sys, threading
import beside

print(sys.argv, os.getcwd(), os.environ.get('LFI_GIVEN'), __name__, sys.stdin.read(), flush=True)
print('an error', file=sys.stderr)
atexit.register(print, 'at exit')
threading.Timer(0.1, print, ['in a thread']).start()
{end}
"""


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'beside.py').touch()

    def write(end):
        (folder / 'script.py').write_text(SCRIPT.format(end=end))
        return folder / 'script.py'

    return write


@pytest.mark.parametrize(
    ('end', 'code'), [('', 0), ('sys.exit()', 0), ('sys.exit(3)', 3), ('sys.exit("no")', 1)]
)
def test_a_script_meets_the_same_and_ends_alike(script, end, code, warm_python, tool_env, tmp_path):
    args, given = [script(end), '--option', 'value'], {'LFI_GIVEN': 'yes'}
    own = subprocess.run(
        [sys.executable, *args],
        cwd=tmp_path,
        env={**tool_env, **given},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    warm = warm_python.run(args, tmp_path, given)
    assert warm.returncode == own.returncode == code
    assert sorted(warm.stdout.splitlines()) == sorted(own.stdout.splitlines())
    assert 'LFI_GIVEN' not in os.environ


def test_an_exception_is_shown_and_the_next_script_runs(script, warm_python, tmp_path):
    failed = warm_python.run([script('raise ValueError("odd")')], tmp_path)
    assert failed.returncode == 1
    assert 'ValueError: odd' in failed.stdout and 'script.py", line' in failed.stdout
    assert warm_python.run([script('os.kill(os.getpid(), 9)')], tmp_path).returncode == -9
    assert warm_python.run([script('')], tmp_path).returncode == 0
