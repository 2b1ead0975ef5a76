import errno
import os
import subprocess
import time

import pytest

from research.studies.stopwatch import read_seconds, stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr('research.studies.stopwatch.time.perf_counter', lambda: now[0])
    return now


def test_seconds_add_up_until_the_work_is_whole(tmp_path, clock):
    file = tmp_path / 'run/seconds.json'
    assert read_seconds(file) is None
    with pytest.raises(KeyboardInterrupt), stopwatch(file):
        clock[0] += 5
        raise KeyboardInterrupt
    with stopwatch(file):
        clock[0] += 2
    with stopwatch(file):
        clock[0] += 1
    assert read_seconds(file) == 7


def test_a_kill_loses_little(new_python, tmp_path):
    file = tmp_path / 'seconds.json'
    code = f"""
import time
from pathlib import Path
from research.studies.stopwatch import stopwatch
with stopwatch(Path({str(file)!r}), interval=0.05):
    print('counting', flush=True)
    time.sleep(300)
"""
    command = new_python.command('-c', code)
    with subprocess.Popen(command, env=new_python.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'counting\n'
        began = time.monotonic()
        while (read_seconds(file) or 0) < 0.5:
            assert time.monotonic() - began < 60, 'nothing was written'
            time.sleep(0.01)
        process.kill()
        # The pipe's end: what counts is gone.
        process.stdout.read()
    seconds = read_seconds(file)
    assert 0.5 <= seconds < 300
    with stopwatch(file):
        pass
    assert seconds <= read_seconds(file) < seconds + 30


def test_a_write_that_fails_leaves_what_was_counted(tmp_path, clock, monkeypatch):
    file = tmp_path / 'seconds.json'
    with pytest.raises(KeyboardInterrupt), stopwatch(file):
        clock[0] += 5
        raise KeyboardInterrupt

    def fail(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='No space left'), stopwatch(file):
        clock[0] += 2
    assert read_seconds(file) == 5
