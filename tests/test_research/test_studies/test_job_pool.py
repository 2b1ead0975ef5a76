import os
import signal
import subprocess
import threading
import time

import pytest

from research.studies.job_pool import run_jobs, threads_for


def test_jobs_run_side_by_side_and_say_what_they_found(capsys):
    both = threading.Barrier(2, timeout=60)

    def job(progress, name):
        task = progress.add_task(name)
        both.wait()
        progress.remove_task(task)
        return f'{name} is done'

    run_jobs([lambda progress, name=name: job(progress, name) for name in 'ab'], 2)
    out = capsys.readouterr().out
    assert 'a is done\n' in out
    assert 'b is done\n' in out
    assert '2/2' in out


@pytest.mark.parametrize('error', [OSError('the disk is full'), KeyboardInterrupt()])
def test_a_failure_ends_what_runs_and_begins_no_more(error):
    finished, both, failed = [], threading.Barrier(2, timeout=60), threading.Event()

    def slow(progress):
        both.wait()
        failed.wait(10)
        finished.append('slow')
        return 'slow'

    def failing(progress):
        both.wait()
        failed.set()
        raise error

    def never(progress):
        time.sleep(0.02)
        finished.append('never')
        return 'never'

    with pytest.raises(type(error)):
        run_jobs([slow, failing, *[never] * 20], 2)
    assert 'slow' in finished
    assert finished.count('never') < 20


POOL = """
import signal
import sys
import threading
from research.studies.job_pool import run_jobs
from research.studies.tool_output import tool_output

lock = threading.Lock()

def follow(code):
    for line in tool_output([sys.executable, '-c', code], 'a tool'):
        print(line, end='', file=sys.stderr, flush=True)

# What a shell starts in the background ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def stopped(new_python, jobs, after=1, stop=signal.SIGTERM):
    """Run jobs, and stop them after so many lines: the exit code, these lines, and those that follow."""
    pool = subprocess.Popen(
        new_python.command('-c', POOL + jobs),
        env=new_python.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = [pool.stderr.readline() for _ in range(after)]
    pool.send_signal(stop)
    _, rest = pool.communicate(timeout=60)
    return pool.returncode, before, rest


SLEEPERS = """
def job(progress):
    follow('import os, time; print(os.getpid(), flush=True); time.sleep(60)')

run_jobs([job] * 3, 2)
"""


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_pool_leaves_no_tool_behind(new_python, stop):
    code, sleepers, rest = stopped(new_python, SLEEPERS, after=2, stop=stop)
    assert code != 0
    assert not any(line.isdigit() for line in rest.split())  # The third was not begun.
    for pid in map(int, sleepers):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


WAITING = """
def job(progress):
    with lock:
        follow('import time; print(1, flush=True); time.sleep(60)')

run_jobs([job] * 2, 2)
"""


def test_a_job_that_waits_for_another_is_stopped_too(new_python):
    code, _, _ = stopped(new_python, WAITING)
    assert code != 0


DEAF = """
def job(progress):
    follow(
        'import signal, time; asked = []; signal.signal(signal.SIGTERM, lambda *_: asked.append(1)); '
        'print(1, flush=True); [time.sleep(0.05) for _ in range(30)]; print("asked", len(asked))'
    )

run_jobs([job], 1)
"""


def test_a_tool_that_takes_its_time_is_asked_once(new_python):
    _, _, rest = stopped(new_python, DEAF)
    assert 'asked 1\n' in rest


def test_threads_are_shared(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    assert [threads_for(n) for n in (1, 3, 8, 9)] == ['8', '2', '1', '1']
