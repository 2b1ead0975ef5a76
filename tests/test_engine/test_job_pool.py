import threading
import time

import pytest
from lfi.engine.job_pool import run_jobs, threads_for


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


def test_threads_are_shared(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    assert [threads_for(n) for n in (1, 3, 8, 9)] == ['8', '2', '1', '1']
