"""What stands for `python` where a warm Python runs: a request to its server, and the end of what it ran.

It runs as `python -IS warm_client.py SOCKET PYTHON ARGUMENTS`, imports little, and so starts in no time. To
who started it, it is the process that it asked for: it has its files, ends as it ends, passes signals on to
it, and takes it along when it is killed. What the server does not run becomes `PYTHON ARGUMENTS` here.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys

PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
LIMITS = tuple(value for name, value in sorted(vars(resource).items()) if name.startswith('RLIMIT_'))


def limits() -> list[list[int]]:
    """The limits of this process, in the order of their names."""
    return [list(resource.getrlimit(limit)) for limit in LIMITS]


def open_files() -> list[int]:
    """The numbers of the files, beside the streams, that this process has open."""
    found = []
    for number in map(int, os.listdir('/dev/fd')):
        # What listed the folder is closed.
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return [number for number in found if number > 2]


def ask(path: str, args: list[str]) -> tuple[socket.socket, int]:
    """Ask the server at `path` to run `python *args`; the connection, and the process or 0 if it refuses."""
    files = [0, 1, 2, *filter(os.get_inheritable, open_files())]
    request = dict(args=args, cwd=os.getcwd(), environ=dict(os.environ), limits=limits(), files=files)
    text = json.dumps(request).encode()
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    socket.send_fds(server, [len(text).to_bytes(4, 'big')], files)
    server.sendall(text)
    return server, receive(server)


def receive(server: socket.socket) -> int:
    """A number that the server sends."""
    data = server.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        sys.exit('the warm Python has ended')
    return int.from_bytes(data, 'big', signed=True)


def pass_signals_on(process: int) -> None:
    """Send the process what this one is sent."""

    def send(number: int, frame: object) -> None:
        # It may have ended, and this process is about to.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in PASSED_ON:
        signal.signal(number, send)


def end(code: int) -> None:
    """End as a process of this return code has ended."""
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main(path: str, python: str, *args: str) -> None:
    server, process = ask(path, list(args))
    if process:
        pass_signals_on(process)
        end(receive(server))
    server.close()
    os.execv(python, [python, *args])


if __name__ == '__main__':
    main(*sys.argv[1:])
