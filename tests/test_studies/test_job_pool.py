import os
import signal
import subprocess
import threading
import time

import pytest
from lfi.studies.job_pool import run_jobs, threads_for


def test_jobs_run_side_by_side_and_say_what_they_found(capsys):
    both = threading.Barrier(2, timeout=10)

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
    finished, both, failed = [], threading.Barrier(2, timeout=10), threading.Event()

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


SLEEPERS = """
import signal
import sys
from lfi.studies.job_pool import run_jobs
from lfi.studies.tool_output import tool_output

def job(progress):
    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    for line in tool_output([sys.executable, '-c', code], 'a sleeper'):
        print(line, end='', file=sys.stderr, flush=True)

# What a shell starts in the background ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
run_jobs([job] * 3, 2)
"""


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_pool_leaves_no_tool_behind(new_python, stop):
    pool = subprocess.Popen(
        new_python.command('-c', SLEEPERS),
        env=new_python.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    sleepers = [int(pool.stderr.readline()) for _ in range(2)]
    pool.send_signal(stop)
    _, rest = pool.communicate(timeout=30)
    assert pool.returncode != 0
    assert not any(line.isdigit() for line in rest.split())  # The third was not begun.
    for pid in sleepers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


WAITING = """
import signal
import sys
import threading
from lfi.studies.job_pool import run_jobs
from lfi.studies.tool_output import tool_output

lock = threading.Lock()

def job(progress):
    with lock:
        code = 'import time; print(1, flush=True); time.sleep(60)'
        for line in tool_output([sys.executable, '-c', code], 'a sleeper'):
            print(line, end='', file=sys.stderr, flush=True)

signal.signal(signal.SIGINT, signal.default_int_handler)
run_jobs([job] * 2, 2)
"""


def test_a_job_that_waits_for_another_is_stopped_too(new_python):
    pool = subprocess.Popen(
        new_python.command('-c', WAITING),
        env=new_python.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    pool.stderr.readline()
    pool.send_signal(signal.SIGTERM)
    pool.communicate(timeout=30)
    assert pool.returncode != 0


DEAF = """
import signal
import sys
from lfi.studies.job_pool import run_jobs
from lfi.studies.tool_output import tool_output

def job(progress):
    code = 'import signal, time; asked = []; signal.signal(signal.SIGTERM, lambda *_: asked.append(1)); '
    code += 'print(1, flush=True); [time.sleep(0.05) for _ in range(30)]; print("asked", len(asked))'
    for line in tool_output([sys.executable, '-c', code], 'a tool'):
        print(line, end='', file=sys.stderr, flush=True)

run_jobs([job], 1)
"""


def test_a_tool_that_takes_its_time_is_asked_once(new_python):
    pool = subprocess.Popen(
        new_python.command('-c', DEAF),
        env=new_python.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    pool.stderr.readline()
    pool.send_signal(signal.SIGTERM)
    _, rest = pool.communicate(timeout=30)
    assert 'asked 1\n' in rest


def test_threads_are_shared(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    assert [threads_for(n) for n in (1, 3, 8, 9)] == ['8', '2', '1', '1']
