"""A Python that has imported what most scripts need, and forks for each script that it runs.

Torch and the OpenMMLab stack take five seconds to import. A fork of a process that has them starts at once,
and a script in it meets what it meets in a process of its own: the command line, the folder and the
environment that it was given, and no state of the tests. What depends on how a process starts is tested in
processes of their own.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

MODULES = (
    'lfi.models',
    'lfi.datasets',
    'mmdet.datasets',
    'mmdet.evaluation',
    'mmdet.models',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'scipy.stats',
)


def unformatted_configs() -> None:
    """Let configs be logged and written unformatted: yapf takes three quarters of a Runner's start."""
    for name in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
        # Upstream's mmengine looks it up in the second of these.
        importlib.import_module(name).FormatCode = lambda text, **options: (text, True)


class WarmPython:
    """Starts the process on the first run.

    Args:
        env: the environment of the process and of all that it runs, but for what a run is given of its own.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.process: subprocess.Popen | None = None

    def run(self, args: list, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run `python *args`; `args` begin with a script. Its `stdout` is all that it printed.

        Raises:
            subprocess.TimeoutExpired: if it takes longer than `timeout` seconds; it is killed.
        """
        if self.process is None:
            command = [sys.executable, __file__, str(timeout)]
            self.process = subprocess.Popen(
                command, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        with tempfile.NamedTemporaryFile('r') as output:
            args = [str(arg) for arg in args]
            request = dict(args=args, cwd=str(cwd), output=output.name)
            print(json.dumps(request), file=self.process.stdin, flush=True)
            code = int(self.process.stdout.readline())
            if code == -signal.SIGALRM:
                raise subprocess.TimeoutExpired(args, timeout, output.read())
            return subprocess.CompletedProcess(args, code, output.read())

    def close(self) -> None:
        if self.process is not None:
            with self.process:
                self.process.stdin.close()


def serve(timeout: float) -> list[str]:
    """Fork for each request on stdin, and print its exit status. Only forks return, with a command line."""
    answers = os.fdopen(os.dup(1), 'w')
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if not process:
            answers.close()
            enter(**request, timeout=timeout)
            return request['args']
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    # Nothing of this process needs an orderly end.
    os._exit(0)


def enter(args: list[str], cwd: str, output: str, timeout: float) -> None:
    """Give this fork what a new process has: streams, folder, command line, random numbers, and a limit."""
    signal.setitimer(signal.ITIMER_REAL, timeout)
    for path, flags, numbers in ((os.devnull, os.O_RDONLY, [0]), (output, os.O_WRONLY | os.O_APPEND, [1, 2])):
        opened = os.open(path, flags)
        for number in numbers:
            os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115
    os.chdir(cwd)
    sys.argv = args
    sys.path[0] = str(Path(args[0]).resolve().parent)
    random.seed()
    importlib.import_module('numpy').random.seed()


def finish(code: int) -> None:
    """End this fork as an interpreter ends, without taking the imported modules apart."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def status(end: SystemExit) -> int:
    """The exit status that Python gives to `sys.exit(end.code)`; a message goes to stderr."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


if __name__ == '__main__':
    with contextlib.redirect_stdout(sys.stderr):
        for name in MODULES:
            importlib.import_module(name)
    unformatted_configs()
    # What is here now stays: a collection need not look at it, nor a fork copy it.
    gc.collect()
    gc.freeze()
    script = serve(float(sys.argv[1]))[0]
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as end:
        finish(status(end))
    except BaseException:
        traceback.print_exc()
        finish(1)
    finish(0)
