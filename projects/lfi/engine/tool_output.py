"""Following a tool that another tool runs."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .launch import UsageError
from .machine import MACHINE

_running: set[subprocess.Popen] = set()


def tool_output(
    command: Sequence[str], name: str, env: Mapping[str, str] | None = None, cwd: str | Path | None = None
) -> Iterator[str]:
    """The lines that a command prints, errors among them.

    Args:
        command: with its arguments.
        name: what it does, for the error.
        env: Defaults to this process's environment.
        cwd: Defaults to this process's directory.

    Raises:
        UsageError: if it fails; the message begins with its last lines.
    """
    tail: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        _running.add(process)
        try:
            for line in process.stdout:
                tail.append(line)
                yield line
        finally:
            _running.discard(process)
    if process.returncode:
        raise UsageError(
            f'{"".join(tail)}\n{name} failed with exit code {process.returncode}: {" ".join(command)}'
        )


def stop_tools() -> None:
    """Terminate all that `tool_output` follows, in whatever thread."""
    for process in tuple(_running):
        process.terminate()


def finished_epoch(line: str) -> int | None:
    """The epoch that a line of the log validates; None if it is another line."""
    return int(line.split('Epoch(val) [')[1].split(']')[0]) if 'Epoch(val) [' in line else None


def machine_of(line: str) -> str | None:
    """The machine that `tools/train.py` says it runs on; None if it is another line."""
    return line.split(MACHINE, 1)[1].strip() if MACHINE in line else None
