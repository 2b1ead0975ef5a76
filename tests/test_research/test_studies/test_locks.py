"""One run at a time in the folder of a cell or a cache, and in the pages where studies are published."""

import subprocess
import sys
import threading
import time

import pytest
from lfi.errors import UsageError

from research.studies.locks import awaited_lock, publishing_lock, run_lock
from research.studies.tool_output import stop_tools, tool_output


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    with run_lock(tmp_path / 'a/.lock'):
        with (
            pytest.raises(UsageError, match=r'a is in use by another run, which holds \.lock: wait for it'),
            run_lock(tmp_path / 'a/.lock'),
        ):
            pass
        with run_lock(tmp_path / 'b/.lock'):
            pass
    with run_lock(tmp_path / 'a/.lock'):
        pass


def test_a_program_holds_it_after_its_starter_is_gone(tmp_path):
    code = 'import sys; print("begun", flush=True); sys.stdin.read()'
    with run_lock(tmp_path / '.lock') as lock:
        process = subprocess.Popen(
            [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lock]
        )
        process.stdout.readline()
    with process:
        with pytest.raises(UsageError, match='in use by another run'), run_lock(tmp_path / '.lock'):
            pass
        process.stdin.close()
    with run_lock(tmp_path / '.lock'):
        pass


def test_tools_inherit_what_is_passed(tmp_path):
    with run_lock(tmp_path / '.lock') as lock:
        code = f'import os; os.fstat({lock}); print("there")'
        assert list(tool_output([sys.executable, '-c', code], 'a tool', pass_fds=[lock])) == ['there\n']


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr('fcntl.flock', refuse)
    with run_lock(tmp_path / '.lock'):
        assert (tmp_path / '.lock').exists()


def test_who_needs_the_same_waits_and_then_keeps_others_out(tmp_path):
    file, order = tmp_path / 'a/.lock', []

    def wait():
        with awaited_lock(file, 'a cell'):
            order.append('second begins')
            with pytest.raises(UsageError, match='in use by another run'), run_lock(file):
                pass

    second = threading.Thread(target=wait)
    with awaited_lock(file, 'another cell'):
        second.start()
        # Long enough for the other to begin, were it let in.
        second.join(0.5)
        order.append('first ends')
    second.join(30)
    assert order == ['first ends', 'second begins']
    with run_lock(file):
        pass


def test_a_wait_ends_as_tools_do(tmp_path):
    file, said = tmp_path / '.lock', []

    def wait():
        message = f'a cell: waiting for {file} failed'
        with pytest.raises(UsageError, match=message) as error, awaited_lock(file, 'a cell'):
            pass
        said.append(error.value)

    waiting = threading.Thread(target=wait)
    with run_lock(file):
        waiting.start()
        while waiting.is_alive():
            stop_tools()
            time.sleep(0.01)
    assert len(said) == 1


def test_who_publishes_waits_for_the_other(tmp_path):
    order, inside = [], threading.Event()

    def publish(name):
        with publishing_lock(tmp_path / 'results'):
            order.append(f'{name} begins')
            inside.set()
            time.sleep(0.05)
            order.append(f'{name} ends')

    first = threading.Thread(target=publish, args=['first'])
    first.start()
    inside.wait(10)
    publish('second')
    first.join()
    assert order == ['first begins', 'first ends', 'second begins', 'second ends']
    assert not list((tmp_path / 'results').iterdir())
