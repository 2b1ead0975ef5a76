"""What a script meets in a fork of a warm Python is what it meets in a process of its own."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from warm_python import WarmPython

SCRIPT = """
import atexit, os, sys, threading
import beside

print(sys.argv, os.getcwd(), os.environ.get('LFI_GIVEN'), __name__, sys.stdin.read(), flush=True)
print('an error', file=sys.stderr)
atexit.register(print, 'at exit')
threading.Timer(0.1, print, ['in a thread']).start()
{end}
"""
# Whether a Python is a warm one's fork, and which Python it starts by `sys.executable`.
WHERE = 'import os, sys; print("lfi.models" in sys.modules, sys.executable)'


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'beside.py').touch()

    def write(end):
        (folder / 'script.py').write_text(SCRIPT.format(end=end))
        return folder / 'script.py'

    return write


@pytest.fixture
def code(tmp_path):
    """`code(text)` is a script of this text."""

    def write(text):
        path = tmp_path / 'code.py'
        path.write_text(text)
        return path

    return write


@pytest.fixture
def start(warm_python, tool_env):
    """`start(*args)` starts the warm Python without waiting for its end; afterwards it is killed."""
    processes = []

    def run(*args):
        command = warm_python.command(*args)
        processes.append(subprocess.Popen(command, env=tool_env, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        with process:
            process.kill()


@pytest.mark.parametrize(('end', 'code'), [('', 0), ('sys.exit(3)', 3), ('sys.exit("no")', 1)])
def test_a_script_meets_the_same_and_ends_alike(
    script, end, code, warm_python, new_python, tool_env, tmp_path
):
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
    for python in (warm_python, new_python):
        warm = python.run(args, tmp_path, given)
        assert warm.returncode == own.returncode == code
        assert sorted(warm.stdout.splitlines()) == sorted(own.stdout.splitlines())
    assert 'LFI_GIVEN' not in os.environ


def test_an_exception_is_shown_and_the_next_script_runs(script, warm_python, tmp_path):
    failed = warm_python.run([script('raise ValueError("odd")')], tmp_path)
    assert failed.returncode == 1
    assert 'ValueError: odd' in failed.stdout and 'script.py", line' in failed.stdout
    assert warm_python.run([script('os.kill(os.getpid(), 9)')], tmp_path).returncode == -9
    assert warm_python.run([script('')], tmp_path).returncode == 0


@pytest.mark.parametrize(
    'code',
    [
        'raise KeyboardInterrupt',
        'import sys; sys.stdout.close()',
        'import sys; sys.excepthook = lambda *error: print(error[0]); raise ValueError',
        'import os, tempfile; print(tempfile.gettempdir() == os.environ["TMPDIR"])',
    ],
)
def test_unusual_ends_and_folders_are_alike(code, warm_python, tool_env, tmp_path):
    variables = {'TMPDIR': str(tmp_path)} if 'TMPDIR' in code else {}
    own = subprocess.run(
        [sys.executable, '-c', code], env={**tool_env, **variables}, stdout=subprocess.PIPE, text=True
    )
    warm = warm_python.run(['-c', code], tmp_path, variables)
    assert warm.returncode == own.returncode
    assert own.stdout in warm.stdout and 'ValueError' not in warm.stdout.replace(own.stdout, '')


def test_no_two_forks_draw_the_same_numbers(warm_python, tmp_path):
    args = [
        '-c',
        'import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())',
    ]
    first, second = (warm_python.run(args, tmp_path).stdout.split() for _ in range(2))
    assert len({*first} & {*second}) == 0


def test_what_a_script_starts_is_warm_too(code, warm_python, new_python, tmp_path):
    path = code(f'{WHERE}\nimport subprocess\nsubprocess.run([sys.executable, "-c", {WHERE!r}], check=True)')
    for python, has_imported in ((warm_python, 'True'), (new_python, 'False')):
        lines = python.run([path], tmp_path).stdout.split()
        assert lines == [has_imported, warm_python.executable, 'True', warm_python.executable]


def test_modules_and_code_run_as_by_python(warm_python, tool_env, tmp_path):
    (tmp_path / 'module.py').write_text('import sys; print(sys.argv, sys.path[0], __name__)')
    for args in (['-u', '-m', 'module', '-x'], ['-c', 'import module', '-x']):
        own = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=tool_env, capture_output=True, text=True
        )
        assert warm_python.run(args, tmp_path).stdout == own.stdout


def test_folders_before_those_of_the_warm_python_are_searched_first(code, warm_python, tool_env, tmp_path):
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more/module.py').write_text('where = __file__')
    own = tool_env['PYTHONPATH']
    # Scripts add the package's folder once more.
    path = os.pathsep.join([own.split(os.pathsep)[0], str(tmp_path / 'more'), own])
    args = [code(f'{WHERE}\nimport module; print(module.where)')]
    lines = warm_python.run(args, tmp_path, {'PYTHONPATH': path}).stdout.split()
    assert lines == ['True', warm_python.executable, str(tmp_path / 'more/module.py')]


def test_what_a_fork_cannot_give_runs_in_a_process_of_its_own(code, warm_python, tool_env, tmp_path):
    (tmp_path / 'other/torch').mkdir(parents=True)
    path = f'{tmp_path / "other"}{os.pathsep}{tool_env["PYTHONPATH"]}'
    for variables in ({'PYTHONPATH': path}, {'PYTHONHASHSEED': '1'}, {'OMP_NUM_THREADS': '2'}):
        assert warm_python.run([code(WHERE)], tmp_path, variables).stdout.split() == ['False', sys.executable]
    assert warm_python.run(['-X', 'dev', code(WHERE)], tmp_path).stdout.startswith('False')


@pytest.mark.parametrize(('count', 'is_warm'), [(1, 'True'), (5, 'True'), (20, 'False')])
def test_files_are_passed_on_by_their_numbers(count, is_warm, warm_python, tool_env, tmp_path):
    files = []
    for number in range(count):
        (tmp_path / str(number)).write_text(str(number))
        files.append(os.open(tmp_path / str(number), os.O_RDONLY))
    reads = f'print(*(os.read(file, 9).decode() for file in {files}))'
    command = warm_python.command('-c', f'{WHERE}; {reads}')
    found = subprocess.run(command, env=tool_env, pass_fds=files, stdout=subprocess.PIPE, text=True)
    for file in files:
        os.close(file)
    where, contents = found.stdout.splitlines()
    assert where.startswith(is_warm)
    assert contents.split() == [str(number) for number in range(count)]


ANSWERS = """
import os, signal, sys, time

def answer(number, frame):
    print('signal', number, flush=True)
    sys.exit(5)

signal.signal(signal.SIGTERM, answer)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_signals_come_through(start, code):
    process = start(code(ANSWERS))
    process.stdout.readline()
    process.terminate()
    assert process.communicate()[0] == f'signal {signal.SIGTERM:d}\n'
    assert process.returncode == 5


def test_two_run_at_a_time_and_who_is_killed_is_gone(start, code):
    processes = [start(code(ANSWERS)) for _ in range(2)]
    numbers = [int(process.stdout.readline()) for process in processes]
    processes[0].kill()
    # Its end of the pipe is closed when the script's process is gone, and it has answered nothing.
    assert processes[0].communicate()[0] == ''
    deadline = time.monotonic() + 60
    while is_there(numbers[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert is_there(numbers[1])
    os.kill(numbers[1], signal.SIGKILL)
    assert processes[1].wait() == -signal.SIGKILL


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_though_a_fork_of_the_tests_lives_on(tool_env):
    python = WarmPython(tool_env, ())
    assert python.executable
    worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,), daemon=True)
    worker.start()
    try:
        python.close()
        assert worker.is_alive()
    finally:
        worker.kill()
