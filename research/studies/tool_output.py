"""Output of tools that run as programs."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lfi.engine.machine import MACHINE
from lfi.errors import UsageError

_running: set[subprocess.Popen] = set()
_stopped: set[subprocess.Popen] = set()


def tool_output(
    command: Sequence[str],
    name: str,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[str]:
    """Run a command and yield the lines of its output and errors.

    Args:
        command: command with its arguments.
        name: name of the work, for the error.
        env: environment of the command. Defaults to the environment of this process.
        cwd: directory of the command. Defaults to the directory of this process.
        pass_fds: file descriptors that the command inherits. Defaults to none.

    Raises:
        UsageError: if the command fails; the message begins with its last lines.
    """
    tail: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        _running.add(process)
        try:
            assert process.stdout is not None
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
    """Terminate the commands of `tool_output` in all threads, once each: torchrun takes no second signal."""
    for process in _running - _stopped:
        _stopped.add(process)
        process.terminate()


def follow_training(lines: Iterable[str], at_epoch: Callable[[int], None]) -> str | None:
    """Follow the output of `tools/train.py`.

    Args:
        lines: lines of the output.
        at_epoch: function called with the number of each validated epoch.

    Returns:
        The machine named in the output, or None.
    """
    machine = None
    for line in lines:
        if MACHINE in line:
            machine = line.split(MACHINE, 1)[1].strip()
        elif 'Epoch(val) [' in line:
            at_epoch(int(line.split('Epoch(val) [')[1].split(']')[0]))
    return machine
