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
from collections.abc import Mapping
from functools import cache
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
# Seconds that a script may take.
TIMEOUT = 600


def cheap_configs() -> None:
    """Make configs cheap to read and to log, in this process.

    Those of mmdet parse all of its 200 model indices for each `mmdet::` of a base; here they are parsed once.
    And yapf lays out a config whenever it is logged or saved, which takes three quarters of a Runner's start;
    here configs stay as they are.
    """
    utils = importlib.import_module('mmengine.config.utils')
    utils.load = cache(utils.load)
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

    def run(
        self, args: list, cwd: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run `python *args`; `args` begin with a script. The result's `stdout` is all that it printed.

        Args:
            args: the command line.
            cwd: the folder to run it in.
            variables: of its environment, in addition. What is read at imports must not be among them.

        Raises:
            subprocess.TimeoutExpired: if it takes longer than `TIMEOUT`; it is killed.
        """
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        with tempfile.NamedTemporaryFile('r') as output:
            args = [str(arg) for arg in args]
            request = dict(args=args, cwd=str(cwd), output=output.name, variables=dict(variables or {}))
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
            if not answer:
                raise RuntimeError('the warm Python has ended; see its error above')
            code = int(answer)
            if code == -signal.SIGALRM:
                raise subprocess.TimeoutExpired(args, TIMEOUT, output.read())
            return subprocess.CompletedProcess(args, code, output.read())

    def close(self) -> None:
        if self.process is not None:
            with self.process:
                self.process.stdin.close()


def serve() -> list[str]:
    """Fork for each request on stdin, and print its exit status. Only forks return, with a command line."""
    answers = os.fdopen(os.dup(1), 'w')
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if not process:
            answers.close()
            enter(**request)
            return request['args']
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    # Nothing of this process needs an orderly end.
    os._exit(0)


def enter(args: list[str], cwd: str, output: str, variables: dict[str, str]) -> None:
    """Give this fork what a new process has: streams, folder, command line, variables, random numbers."""
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
    for path, flags, numbers in ((os.devnull, os.O_RDONLY, [0]), (output, os.O_WRONLY | os.O_APPEND, [1, 2])):
        opened = os.open(path, flags)
        for number in numbers:
            os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.update(variables)
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
    cheap_configs()
    # What is here now stays: a collection need not look at it, nor a fork copy it.
    gc.collect()
    gc.freeze()
    script = serve()[0]
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as end:
        finish(status(end))
    except BaseException:
        traceback.print_exc()
        finish(1)
    finish(0)
