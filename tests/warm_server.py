"""The process of a warm Python: it imports what most scripts need, and forks for each script that it runs."""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import re
import runpy
import selectors
import signal
import socket
import sys
import threading
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cheap_configs import cheap_configs
from warm_client import end, limits, open_files

# Variables that are read when Python starts, or at imports; PYTHON and PYTHON_EXEC are read by scripts, and
# Python itself sets LC_CTYPE.
READ_AT_START = re.compile(
    'PYTHON[A-Z]|(CUDA|HF|KMP|LD|MALLOC|MKL|NUMEXPR|OMP|OPENBLAS)_|MPL|LANG|LC_ALL|TMPDIR'
)
# The environment before the imports, some of which change it.
ENVIRON = dict(os.environ)
# Of one request.
MOST_FILES = 16
# What imports have left open beside the streams: a fork has it too.
OPENED: set[int] = set()


@dataclass(frozen=True)
class Request:
    """What a client asks to run, in what surroundings.

    Args:
        args: the command line of `python`.
        cwd: the folder to run it in.
        environ: its whole environment.
        limits: of its resources, in the order of their names.
        files: the numbers of its files: 0, 1, 2, and what it inherits besides.
        received: these files as they are numbered here.
    """

    args: list[str]
    cwd: str
    environ: dict[str, str]
    limits: list[list[int]]
    files: list[int]
    received: list[int]

    @classmethod
    def receive(cls, client: socket.socket) -> 'Request | None':
        """Read what a client sends; None if it ends before."""
        length, received, _, _ = socket.recv_fds(client, 4, MOST_FILES)
        text = client.recv(int.from_bytes(length, 'big'), socket.MSG_WAITALL)
        try:
            return cls(**json.loads(text), received=list(received))
        except json.JSONDecodeError:
            return None

    def close(self) -> None:
        for file in self.received:
            os.close(file)

    def open(self) -> None:
        """Give the files the numbers that they have at the client, and close what was received."""
        moved = [fcntl.fcntl(file, fcntl.F_DUPFD, max(self.files) + 1) for file in self.received]
        self.close()
        for file, number in zip(moved, self.files):
            os.dup2(file, number)
            os.close(file)


class Command:
    """A command line of `python`, in the forms that a warm Python knows.

    Attributes:
        unbuffered: whether what is printed is to leave at once.
        form: '-c', '-m' or 'script'.
        subject: the code, the module or the script.
        argv: `sys.argv`, as it is when that begins.
    """

    def __init__(self, args: list[str]) -> None:
        args = list(args)
        self.unbuffered = args[:1] == ['-u']
        if self.unbuffered:
            del args[0]
        self.form = args.pop(0) if args[:1] in (['-c'], ['-m']) else 'script'
        self.known = bool(args) and (self.form != 'script' or not args[0].startswith('-'))
        if self.known:
            self.subject = args[0]
            self.argv = [self.form, *args[1:]] if self.form != 'script' else args

    @property
    def first_path(self) -> str:
        """`sys.path[0]`."""
        if self.form == 'script':
            return str(Path(self.subject).resolve().parent)
        return os.getcwd() if self.form == '-m' else ''

    def run(self) -> None:
        if self.form == 'script':
            runpy.run_path(self.subject, run_name='__main__')
        elif self.form == '-m':
            runpy.run_module(self.subject, run_name='__main__', alter_sys=True)
        else:
            main = sys.modules['__main__'] = types.ModuleType('__main__')
            exec(compile(self.subject, '<string>', 'exec'), main.__dict__)


def can_run(request: Request) -> bool:
    """Whether a fork of this process meets what a new process would meet."""
    return (
        Command(request.args).known
        and request.limits == limits()
        and read_at_start(request.environ) == read_at_start(ENVIRON)
        and added_folders(request) is not None
        and len(request.received) == len(request.files)
        and not OPENED.intersection(request.files)
    )


def read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process which runs already does not read again."""
    others = {'PYTHON_EXEC', 'PYTHONPATH', *set_by_imports()}
    return {k: v for k, v in environ.items() if READ_AT_START.match(k) and k not in others}


def set_by_imports() -> dict[str, str]:
    """What the imports have changed in the environment of this process."""
    return {name: value for name, value in os.environ.items() if ENVIRON.get(name) != value}


def added_folders(request: Request) -> list[str] | None:
    """What a request has in PYTHONPATH before what this process has there.

    Returns:
        The folders; None if there is more to it than that, or if something imported here lies in them.
    """
    ours, theirs = (environ.get('PYTHONPATH', '').split(os.pathsep) for environ in (ENVIRON, request.environ))
    if theirs[-len(ours) :] != ours:
        return None
    folders = [Path(request.cwd, name) for name in theirs[: -len(ours)] if name not in ours]
    found = {path.name.partition('.')[0] for folder in folders for path in folder.glob('*')}
    return None if found & {*sys.modules, 'sitecustomize', 'usercustomize'} else [str(f) for f in folders]


class Server:
    """Runs what clients ask for, many at a time. It ends, with all that it runs, when stdin ends or speaks.

    Args:
        listener: the socket that clients connect to.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}
        self.children, self.child_ended = socket.socketpair()

    def serve(self) -> Request:
        """Only forks return, with what they are to run."""
        self.child_ended.setblocking(False)
        signal.set_wakeup_fd(self.child_ended.fileno())
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        # From a terminal it goes to all processes; this one ends after pytest.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ, self.end)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.children, selectors.EVENT_READ, self.reap)
        while True:
            for key, _ in self.selector.select():
                request = key.data()
                if request is not None:
                    return request

    def accept(self) -> Request | None:
        """Fork for a client, or refuse; a request in the fork, None in this process."""
        client, _ = self.listener.accept()
        request = Request.receive(client)
        process = 0
        if request is None:
            client.close()
            return None
        if can_run(request):
            process = os.fork()
            if not process:
                client.close()
                self.leave()
                return request
            self.clients[process] = client
            self.selector.register(client, selectors.EVENT_READ, lambda: self.kill(process))
        request.close()
        with contextlib.suppress(ConnectionError):
            client.sendall(process.to_bytes(4, 'big'))
        if not process:
            client.close()
        return None

    def leave(self) -> None:
        """Undo in a fork what is the server's alone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.selector.close()
        for opened in (self.listener, self.children, self.child_ended, *self.clients.values()):
            opened.close()

    def kill(self, process: int) -> None:
        """The client is gone: what it stood for goes with it."""
        if process in self.clients:
            self.selector.unregister(self.clients[process])
            os.kill(process, signal.SIGKILL)

    def reap(self) -> None:
        """Tell clients how their processes have ended."""
        self.children.recv(4096)
        while self.clients:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            client = self.clients.pop(process)
            if client.fileno() in self.selector.get_map():
                self.selector.unregister(client)
            with contextlib.suppress(ConnectionError):
                client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, 'big', signed=True))
            client.close()

    def end(self) -> None:
        for process in self.clients:
            os.kill(process, signal.SIGKILL)
        # Nothing of this process needs an orderly end.
        os._exit(0)


def run(request: Request) -> None:
    """Give this fork what a new process has, run, and end it as an interpreter ends."""
    command = Command(request.args)
    folders = added_folders(request)
    request.open()
    sys.stdin = open(0)  # noqa: SIM115
    if command.unbuffered or 'PYTHONUNBUFFERED' in request.environ:
        sys.stdout.reconfigure(line_buffering=True)
    os.chdir(request.cwd)
    environ = {**request.environ, **set_by_imports()}
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = command.argv
    sys.path[:1] = [command.first_path, *folders]
    importlib.invalidate_caches()
    random.seed()
    importlib.import_module('numpy').random.seed()
    importlib.import_module('torch').seed()
    try:
        command.run()
    except SystemExit as left:
        finish(status(left))
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        finish(-signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1)
    finish(0)


def finish(code: int) -> None:
    """End this fork as an interpreter ends, without taking the imported modules apart."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    end(code)


def status(end: SystemExit) -> int:
    """The exit status that Python gives to `sys.exit(end.code)`; a message goes to stderr."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def main(listener: str, python: str, *modules: str) -> None:
    """Import, then serve.

    Args:
        listener: the number of the socket to serve.
        python: `sys.executable` of all that is run, by which scripts start further ones.
        *modules: what to import.
    """
    sys.executable = python
    with contextlib.redirect_stdout(sys.stderr):
        for name in modules:
            importlib.import_module(name)
    cheap_configs()
    OPENED.update({*open_files()} - {int(listener)})
    # What is here now stays: a collection need not look at it, nor a fork copy it.
    gc.collect()
    gc.freeze()
    run(Server(socket.socket(fileno=int(listener))).serve())


if __name__ == '__main__':
    main(*sys.argv[1:])
